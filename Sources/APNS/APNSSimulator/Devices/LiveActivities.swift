/// A Live Activity on the lock screen.
package struct LiveActivity: Sendable {
    package let number: Int
    package var version: UInt64
    package var bundleID: String
    /// Empty if it was not started on a channel.
    package var channelID = ""
    package var type = ""
    package var attributes: [PayloadField] = []
    package var state: [PayloadField] = []
    /// The title of the last update's alert; empty without an alert.
    package var title = ""
    package var body = ""
    package var sound = ""
    /// The timestamp of the shown update, in UNIX seconds.
    package var timestamp: Int64
    /// UNIX seconds.
    package var staleDate: Int64?
    /// UNIX milliseconds.
    package var updatedAt: Int64
    package var updates = 0
    /// UNIX milliseconds.
    package var endedAt: Int64?
    /// UNIX milliseconds; nil until the activity ends.
    package var dismissAt: Int64?
    /// Removed from the screen, but kept so that later pushes for it are ignored.
    package var isDismissed = false
}

/// The Live Activities of one device, by the rules of ActivityKit: the newest timestamp wins, and pushes after the end
/// are ignored.
///
/// On a real phone each activity has its own token. Here a token is a device, so a push applies to the newest activity
/// of its app or channel. An update without an activity creates one, as if the app had started it.
package struct LiveActivities: Sendable {
    /// The largest number of activities of one device. A new one replaces the oldest.
    package static let countMax = 5
    /// Apple: up to 4 hours after the end, unless the dismissal date is sooner.
    static let shownAfterEnd: Int64 = 4 * 3_600_000

    private(set) var all: [LiveActivity] = []

    package var shown: [LiveActivity] { all.filter { !$0.isDismissed } }
    /// When the next activity is dismissed, in UNIX milliseconds; nil for never.
    var nextDue: Int64? { shown.compactMap(\.dismissAt).min() }

    package init() {}

    /// Starts, updates or ends an activity.
    ///
    /// - Parameters:
    ///   - number: The number of a new activity.
    ///   - now: UNIX milliseconds.
    mutating func apply(
        _ contents: PushPayload, of push: DevicePush, number: Int, version: UInt64, now: Int64
    ) -> DevicePushResult {
        let content = contents.activity
        guard let timestamp = content.timestamp else { return .ignored(.noTimestamp) }
        let channelID = push.channel?.id ?? ""
        let index = all.lastIndex { $0.bundleID == push.bundleID && (channelID.isEmpty || $0.channelID == channelID) }
        var fresh = LiveActivity(
            number: number, version: version, bundleID: push.bundleID, timestamp: timestamp, updatedAt: now)
        fresh.channelID = channelID
        switch content.event {
        case "start" where push.channel == nil:
            // Apple: a broadcast cannot start an activity.
            fresh.channelID = content.channel
            fresh.type = content.attributesType
            fresh.attributes = content.attributes
            append(fresh)
            update(all.count - 1, contents, version: version, now: now)
            return .activityStarted
        case "update", "end":
            let isEnd = content.event == "end"
            guard isEnd || content.state != nil else { return .ignored(.noContentState) }
            if let index {
                guard all[index].endedAt == nil else { return .ignored(.afterEnd) }
                guard timestamp >= all[index].timestamp else { return .ignored(.olderTimestamp) }
            } else {
                guard !isEnd else { return .ignored(.noActivity) }
                append(fresh)
            }
            update(index ?? all.count - 1, contents, version: version, now: now)
            if isEnd { end(index ?? all.count - 1, content.dismissalDate, now: now) }
            return isEnd ? .activityEnded : .activityUpdated
        default: return .ignored(.unknownEvent)
        }
    }

    /// Dismisses activities that are due.
    ///
    /// - Returns: The number of dismissed activities.
    mutating func dismiss(now: Int64) -> Int {
        var count = 0
        for index in all.indices where !all[index].isDismissed {
            guard let due = all[index].dismissAt, due <= now else { continue }
            all[index].isDismissed = true
            count += 1
        }
        return count
    }

    mutating func removeAll() { all.removeAll() }

    private mutating func append(_ activity: LiveActivity) {
        if all.count == Self.countMax { all.removeFirst() }
        all.append(activity)
    }

    private mutating func update(_ index: Int, _ contents: PushPayload, version: UInt64, now: Int64) {
        let content = contents.activity
        all[index].version = version
        all[index].timestamp = content.timestamp ?? all[index].timestamp
        all[index].state = content.state ?? all[index].state
        all[index].staleDate = content.staleDate
        all[index].updatedAt = now
        all[index].updates += 1
        (all[index].title, all[index].body) = (contents.title, contents.body)
        all[index].sound = contents.sound?.name ?? ""
    }

    private mutating func end(_ index: Int, _ dismissalDate: Int64?, now: Int64) {
        let latest = now + Self.shownAfterEnd
        let wanted = dismissalDate.map { min(max(0, $0), Int64.max / 1000) * 1000 } ?? latest
        all[index].endedAt = now
        all[index].dismissAt = min(wanted, latest)
        all[index].isDismissed = wanted <= now
    }
}
