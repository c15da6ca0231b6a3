/// The order in which slots were last used: a doubly linked list in two arrays, every step in constant time.
struct Recency: Sendable, Sequence {
    private static let none = -1

    /// Towards the ones used longer ago, and back.
    private var next: [Int] = []
    private var previous: [Int] = []
    private var head = Recency.none
    private var tail = Recency.none

    /// The slot that was used longest ago.
    ///
    /// - Precondition: there is one.
    var last: Int {
        precondition(tail != Self.none, "no slot was ever used")
        return tail
    }

    /// All slots, the one used last first.
    var order: [Int] { Array(self) }

    /// A slot is used; new ones come in the order of their numbers.
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
            guard slot != Recency.none else { return nil }
            defer { slot = following[slot] }
            return slot
        }
    }
}
