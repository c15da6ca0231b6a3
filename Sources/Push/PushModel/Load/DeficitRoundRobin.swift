/// Whose turn it is among keys that want different amounts: deficit round robin (Shreedhar and Varghese, 1995).
///
/// Each visit to a key adds a quantum to its credit; it may take as long as its credit lasts, then the next key is
/// visited, in ascending order and around. So over time each key that always has something waiting gets the same
/// amount, and one with little to take waits for at most one visit to each of the others.
///
/// Pure. The turn and the credits are kept from one use to the next; keys may come and go in between.
package struct DeficitRoundRobin<Key: Hashable & Comparable & Sendable>: Sendable {
    /// What a visit adds to the credit.
    package let quantum: Int
    /// Credits that are kept for keys that are not there at the moment.
    private let creditsMax: Int
    /// Whose turn it is or, after a key that had nothing, was.
    private var turn: Key?
    private var isVisiting = false
    /// Keys that want more than their credit. None is above `quantum` + the largest amount.
    private var credits: [Key: Int] = [:]

    package init(quantum: Int, creditsMax: Int = 10_000) {
        precondition(quantum > 0, "a visit that adds nothing never ends")
        self.quantum = quantum
        self.creditsMax = creditsMax
    }

    /// The key that takes next; its credit is charged.
    ///
    /// - Parameters:
    ///   - keys: all that may take, ascending, without repetition.
    ///   - amount: what a key would take next; nil when it has nothing. Asked in order of turns.
    /// - Returns: nil when none has anything.
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

    /// Where to go on: with the key in whose visit we are, else with the one after it.
    private mutating func start(among keys: [Key]) -> Int {
        guard let turn else { return 0 }
        if isVisiting, let position = keys.firstIndex(of: turn) { return position }
        isVisiting = false
        return keys.firstIndex { $0 > turn } ?? 0
    }
}
