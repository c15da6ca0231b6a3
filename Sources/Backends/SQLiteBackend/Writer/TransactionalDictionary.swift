/// A dictionary whose changes can be rolled back to a savepoint, as those of the database.
struct TransactionalDictionary<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private(set) var current: [Key: Value] = [:]
    /// The previous value of each change, oldest first. Cleared by each commit.
    private var previous: [(key: Key, value: Value?)] = []

    subscript(key: Key) -> Value? {
        get { current[key] }
        set {
            previous.append((key, current[key]))
            current[key] = newValue
        }
    }

    /// The current state, for `rollBack`; valid until the next commit.
    var savepoint: Int { previous.count }

    mutating func rollBack(to savepoint: Int) {
        while previous.count > savepoint {
            let change = previous.removeLast()
            current[change.key] = change.value
        }
    }

    mutating func commit() {
        previous.removeAll(keepingCapacity: true)
    }
}
