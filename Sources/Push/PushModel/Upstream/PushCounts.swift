/// Counts events of pushes, for the last pushes that had one.
package struct PushCounts: Sendable, Equatable {
    /// How many pushes are remembered.
    private static let pushesMax = 1_000

    private var counts: [PushID: Int] = [:]
    /// The keys of `counts`, oldest first.
    private var order: [PushID] = []

    package init() {}

    /// - Returns: how many events of the push are counted, this one included.
    package mutating func count(_ push: PushID) -> Int {
        let count = (counts[push] ?? 0) + 1
        if count == 1 {
            order.append(push)
            if order.count > Self.pushesMax { counts[order.removeFirst()] = nil }
        }
        counts[push] = count
        return count
    }
}
