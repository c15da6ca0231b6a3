package import APNSWire

/// A push to one device.
package struct DevicePush: Equatable, Sendable {
    /// The channel of a broadcast.
    package struct Channel: Equatable, Sendable {
        /// Base64, as at Apple.
        package var id: String
        /// Storage policy 1: the newest message is stored for offline devices, for at most 8 hours (Apple, "Sending
        /// channel management requests to APNs").
        package var keepsNewest: Bool

        package init(id: String, keepsNewest: Bool) {
            self.id = id
            self.keepsNewest = keepsNewest
        }
    }

    package var id: APNSID
    package var topic: String
    package var type: PushType?
    package var priority: Priority?
    /// `apns-expiration` in UNIX seconds; 0 for a single attempt, nil for the default of 30 days.
    package var expiration: Int64?
    package var collapseID = ""
    package var payload: [UInt8]
    package var channel: Channel?

    package init(
        id: APNSID, topic: String, type: PushType? = .alert, priority: Priority? = nil, expiration: Int64? = nil,
        collapseID: String = "", payload: [UInt8], channel: Channel? = nil
    ) {
        self.id = id
        self.topic = topic
        self.type = type
        self.priority = priority
        self.expiration = expiration
        self.collapseID = collapseID
        self.payload = payload
        self.channel = channel
    }

    /// The topic without the suffix of the push type.
    package var bundleID: String {
        let suffixes = type.map { [$0.topicSuffix] } ?? PushType.allCases.map(\.topicSuffix)
        let suffix = suffixes.first { !$0.isEmpty && topic.hasSuffix($0) } ?? ""
        return String(topic.dropLast(suffix.count))
    }
}

/// A notification on the lock screen.
package struct ShownNotification: Sendable {
    /// Unchanged if a push with the same collapse ID replaces the contents.
    package let number: Int
    /// The table's version at its last change.
    package var version: UInt64
    package var push: DevicePush
    package var contents: PushPayload
    /// UNIX milliseconds.
    package var shownAt: Int64
    /// The number of earlier pushes that this notification has replaced.
    package var replacements = 0
}

/// An entry of the silent log.
package struct LogEntry: Sendable {
    package let number: Int
    package var version: UInt64
    package var push: DevicePush
    /// UNIX milliseconds.
    package var at: Int64
    package var result: DevicePushResult
}

/// The effect of a push on its device.
package enum DevicePushResult: Equatable, Sendable {
    case shown
    /// It replaced a notification with the same collapse ID.
    case replaced
    /// Delivered to the app without a notification. Includes pushes that only set the badge.
    case silent
    case activityStarted
    case activityUpdated
    case activityEnded
    case ignored(IgnoreReason)
    /// The device is offline; the push is stored.
    case stored
    /// The device is offline; the push replaced an older stored one.
    case storedReplacingOlder
    /// The device is offline and the push cannot be stored, because `apns-expiration` is 0 or past, or because the
    /// channel stores no messages.
    case discarded

    package enum IgnoreReason: String, Sendable {
        case notJSON = "not a JSON object"
        case noTimestamp = "a Live Activity push without a timestamp"
        case unknownEvent = "event is not start, update or end"
        case noContentState = "no content-state"
        case olderTimestamp = "older than the shown update"
        case afterEnd = "the activity has ended"
        case noActivity = "no activity to end"
    }
}

/// Counts of one device since its creation.
package struct DeviceCounters: Equatable, Sendable {
    /// Pushes that APNs accepted.
    package var received = 0
    /// Pushes that reached the device, including stored ones.
    package var delivered = 0
    package var shown = 0
    package var silent = 0
    /// Notifications replaced by one with the same collapse ID.
    package var replaced = 0
    package var activityPushes = 0
    package var ignored = 0
    /// Pushes stored while the device was offline.
    package var stored = 0
    /// Stored pushes replaced by a newer one.
    package var overwritten = 0
    /// Pushes that could not be stored, or expired before delivery.
    package var expired = 0
    /// Pushes that APNs refused.
    package var refused = 0
}
