/// A fair scheduler for keys with items of different sizes: deficit round robin (Shreedhar and Varghese, 1995).
///
/// Keys are visited in ascending order, cyclically. A visit adds a quantum to the key's credit and lasts until the
/// credit is used up. Over time every key that always has items waiting gets the same total amount. A key with few
/// items waits for at most one visit to each other key.
///
/// Pure. The current key and the credits persist between calls; the set of keys may change.
package struct DeficitRoundRobin<Key: Hashable & Comparable & Sendable>: Sendable {
    /// The credit that a visit adds.
    package let quantum: Int
    /// The number of credits beyond which those of absent keys are deleted.
    private let creditsMax: Int
    /// The key that is visited or, if `isVisiting` is false, that was visited last.
    private var turn: Key?
    private var isVisiting = false
    /// The unused credits. None exceeds `quantum` plus the largest amount.
    private var credits: [Key: Int] = [:]

    package init(quantum: Int, creditsMax: Int = 10_000) {
        precondition(quantum > 0, "a visit that adds nothing never ends")
        self.quantum = quantum
        self.creditsMax = creditsMax
    }

    /// Selects the key that is served next, and charges its credit.
    ///
    /// - Parameters:
    ///   - keys: the eligible keys, ascending, without duplicates.
    ///   - amount: the size of a key's next item; nil if it has none. Called in the order of the visits.
    /// - Returns: nil if no key has an item.
    package mutating func next(among keys: [Key], amount: (Key) throws -> Int?) rethrows -> Key? {
        guard !keys.isEmpty else { return nil }
        if credits.count > creditsMax { credits = credits.filter { keys.contains($0.key) } }
        var position = start(among: keys)
        var emptyKeys = 0
        while emptyKeys < keys.count {
            let key = keys[position]
            if !isVisiting {
                turn = key
                isVisiting = true
                credits[key, default: 0] += quantum
            }
            if let wanted = try amount(key) {
                let credit = credits[key, default: 0]
                if wanted <= credit {
                    credits[key] = credit - wanted
                    return key
                }
                emptyKeys = 0
            } else {
                credits[key] = nil
                emptyKeys += 1
            }
            isVisiting = false
            position = (position + 1) % keys.count
        }
        return nil
    }

    /// The position of the key that is being visited or, between visits, of the one after it.
    private mutating func start(among keys: [Key]) -> Int {
        guard let turn else { return 0 }
        if isVisiting, let position = keys.firstIndex(of: turn) { return position }
        isVisiting = false
        return keys.firstIndex { $0 > turn } ?? 0
    }
}
