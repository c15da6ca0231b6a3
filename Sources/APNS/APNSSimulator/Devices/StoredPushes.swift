/// The pushes that APNs stores for an offline device.
///
/// By default this is the newest push per topic, which Apple documents as usual, but not guaranteed (Apple, "Sending
/// notification requests to APNs" and "Viewing the status of push notifications"). Apple's list of updates of June 2024
/// states that several may be stored, distinguished by collapse ID: `keepsSeveral`. Broadcasts are stored per channel.
package struct StoredPushes: Sendable {
    package enum StoreResult: Equatable {
        case stored, storedReplacingOlder
        /// The push has expired, or its channel stores no messages.
        case discarded
    }

    private struct Key: Hashable {
        var topic: String
        var collapseID = ""
        var channelID = ""
    }

    private struct Entry {
        var key: Key
        var push: DevicePush
        /// UNIX milliseconds.
        var until: Int64
    }

    /// Apple: the earlier of the expiration and 30 days.
    static let storedAtMost: Int64 = 30 * 86_400_000
    /// Apple: broadcasts at most 8 hours.
    static let broadcastStoredAtMost: Int64 = 8 * 3_600_000
    /// The largest number of stored pushes of one device. A new one replaces the oldest.
    package static let countMax = 16

    private var entries: [Entry] = []

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }
    /// When the next push expires, in UNIX milliseconds.
    var nextDue: Int64? { entries.map(\.until).min() }

    package init() {}

    /// - Parameter now: UNIX milliseconds.
    package mutating func store(_ push: DevicePush, keepsSeveral: Bool, now: Int64) -> StoreResult {
        if let channel = push.channel, !channel.keepsNewest { return .discarded }
        let latest = now + (push.channel == nil ? Self.storedAtMost : Self.broadcastStoredAtMost)
        let wanted = push.expiration.map { min($0, Int64.max / 1000) * 1000 } ?? latest
        guard wanted > now else { return .discarded }
        var key = Key(topic: push.topic)
        if keepsSeveral { key.collapseID = push.collapseID }
        if let channel = push.channel { key.channelID = channel.id }
        let before = entries.count
        entries.removeAll { $0.key == key }
        if entries.count == Self.countMax { entries.removeFirst() }
        let replacesOlder = entries.count < before
        entries.append(Entry(key: key, push: push, until: min(wanted, latest)))
        return replacesOlder ? .storedReplacingOlder : .stored
    }

    /// Removes expired pushes.
    ///
    /// - Returns: The number of removed pushes.
    package mutating func expire(now: Int64) -> Int {
        let before = entries.count
        entries.removeAll { $0.until <= now }
        return before - entries.count
    }

    /// Removes and returns all pushes, oldest first. Call `expire` before.
    package mutating func takeAll() -> [DevicePush] {
        defer { entries.removeAll() }
        return entries.map(\.push)
    }

    package mutating func removeAll() { entries.removeAll() }
}
