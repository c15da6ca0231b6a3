/// A least-recently-used list of slots: a doubly linked list in two arrays. All operations take constant time.
struct RecencyList: Sendable, Sequence {
    private static let none = -1

    /// Links to the slots used less recently and more recently.
    private var next: [Int] = []
    private var previous: [Int] = []
    private var head = RecencyList.none
    private var tail = RecencyList.none

    /// The least recently used slot.
    ///
    /// - Precondition: The list is not empty.
    var last: Int {
        precondition(tail != Self.none, "the list is empty")
        return tail
    }

    /// All slots, the most recently used first.
    var order: [Int] { Array(self) }

    /// Moves a slot to the front. New slots must be added in the order of their numbers.
    mutating func use(_ slot: Int) {
        if slot == head { return }
        if slot == next.count {
            next.append(Self.none)
            previous.append(Self.none)
        } else {
            unlink(slot)
        }
        next[slot] = head
        previous[slot] = Self.none
        if head == Self.none { tail = slot } else { previous[head] = slot }
        head = slot
    }

    private mutating func unlink(_ slot: Int) {
        let (before, after) = (previous[slot], next[slot])
        if before != Self.none { next[before] = after }
        if after == Self.none { tail = before } else { previous[after] = before }
    }

    func makeIterator() -> Iterator { Iterator(following: next, slot: head) }

    struct Iterator: IteratorProtocol {
        fileprivate let following: [Int]
        fileprivate var slot: Int

        mutating func next() -> Int? {
            guard slot != RecencyList.none else { return nil }
            defer { slot = following[slot] }
            return slot
        }
    }
}
