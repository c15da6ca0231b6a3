/// What APNs keeps for a device that is offline.
///
/// One push per topic, the newest; normally so, says Apple, and not guaranteed (Apple, "Sending notification requests
/// to APNs" and "Viewing the status of push notifications"). Apple's list of updates of June 2024 says that several
/// may be kept, told apart by collapse id: `keepsSeveral`. Broadcasts have a place per channel.
package struct StoredPushes: Sendable {
    package enum Outcome: Equatable {
        case stored, storedInstead
        /// It may not wait.
        case discarded
    }

    private struct Place: Hashable {
        var topic: String
        var collapseID = ""
        var channelID = ""
    }

    private struct Entry {
        var place: Place
        var push: DevicePush
        /// UNIX milliseconds.
        var until: Int64
    }

    /// Apple: the earlier of the expiration and 30 days.
    static let storedAtMost: Int64 = 30 * 86_400_000
    /// Apple: broadcasts at most 8 hours.
    static let broadcastStoredAtMost: Int64 = 8 * 3_600_000
    /// Places of one device; past it the oldest push gives way.
    package static let countMax = 16

    private var entries: [Entry] = []

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }
    /// When the next push expires, in UNIX milliseconds.
    var nextDue: Int64? { entries.map(\.until).min() }

    package init() {}

    /// - Parameter now: UNIX milliseconds.
    package mutating func store(_ push: DevicePush, keepsSeveral: Bool, now: Int64) -> Outcome {
        if let channel = push.channel, !channel.keepsNewest { return .discarded }
        let most = now + (push.channel == nil ? Self.storedAtMost : Self.broadcastStoredAtMost)
        let wanted = push.expiration.map { min($0, Int64.max / 1000) * 1000 } ?? most
        guard wanted > now else { return .discarded }
        var place = Place(topic: push.topic)
        if keepsSeveral { place.collapseID = push.collapseID }
        if let channel = push.channel { place.channelID = channel.id }
        let before = entries.count
        entries.removeAll { $0.place == place }
        if entries.count == Self.countMax { entries.removeFirst() }
        let isInstead = entries.count < before
        entries.append(Entry(place: place, push: push, until: min(wanted, most)))
        return isInstead ? .storedInstead : .stored
    }

    /// Drops what has waited too long.
    ///
    /// - Returns: how many.
    package mutating func expire(now: Int64) -> Int {
        let before = entries.count
        entries.removeAll { $0.until <= now }
        return before - entries.count
    }

    /// What has not expired, oldest first; nothing is left. Call `expire` before.
    package mutating func takeAll() -> [DevicePush] {
        defer { entries.removeAll() }
        return entries.map(\.push)
    }

    package mutating func removeAll() { entries.removeAll() }
}
