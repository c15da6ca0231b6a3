/// A dictionary whose changes can be taken back to a mark: what memory knows follows what the database rolled back.
struct TransactionalDictionary<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private(set) var current: [Key: Value] = [:]
    /// The former value of each change, oldest first. Emptied by each commit.
    private var former: [(key: Key, value: Value?)] = []

    subscript(key: Key) -> Value? {
        get { current[key] }
        set {
            former.append((key, current[key]))
            current[key] = newValue
        }
    }

    /// Names the present state, until the next commit.
    var mark: Int { former.count }

    mutating func rollBack(to mark: Int) {
        while former.count > mark {
            let change = former.removeLast()
            current[change.key] = change.value
        }
    }

    mutating func commit() {
        former.removeAll(keepingCapacity: true)
    }
}
