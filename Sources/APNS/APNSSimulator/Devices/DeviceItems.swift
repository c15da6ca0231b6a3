package import APNSWire

/// One push on its way to a device.
package struct DevicePush: Equatable, Sendable {
    /// How a broadcast came here.
    package struct Channel: Equatable, Sendable {
        /// Base64, as Apple writes it.
        package var id: String
        /// Storage policy 1: the newest message waits for devices that are offline, at most 8 hours (Apple, "Sending
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
    /// `apns-expiration`: UNIX seconds; 0 is one attempt, nil the server's own policy.
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
    /// Stays when a collapse id replaces the contents.
    package let number: Int
    /// The table's version at its last change.
    package var version: UInt64
    package var push: DevicePush
    package var contents: PushPayload
    /// UNIX milliseconds.
    package var shownAt: Int64
    /// Pushes that this one has replaced.
    package var replacements = 0
}

/// A line of the silent log.
package struct LogEntry: Sendable {
    package let number: Int
    package var version: UInt64
    package var push: DevicePush
    /// UNIX milliseconds.
    package var at: Int64
    package var fate: DeviceFate
}

/// What became of a push at its device.
package enum DeviceFate: Equatable, Sendable {
    case shown
    /// A notification with the same collapse id gave way.
    case replaced
    /// Handed to the app without a word to the user; a new badge number comes this way, too.
    case silent
    case activityStarted
    case activityUpdated
    case activityEnded
    case ignored(Why)
    /// The device is offline; the push waits.
    case stored
    /// It waits in the place of an older one.
    case storedInstead
    /// The device is offline and the push may not wait: `apns-expiration` is 0 or past.
    case discarded

    package enum Why: String, Sendable {
        case notJSON = "not a JSON object"
        case noTimestamp = "a Live Activity push without a timestamp"
        case unknownEvent = "event is not start, update or end"
        case noContentState = "no content-state"
        case olderTimestamp = "older than what is shown"
        case afterEnd = "the activity has ended"
        case noActivity = "no activity to end"
    }
}

/// What a device has seen since it was first pushed to.
package struct DeviceCounters: Equatable, Sendable {
    /// Pushes that APNs took for it.
    package var received = 0
    /// Pushes that it got, stored ones included.
    package var delivered = 0
    package var shown = 0
    package var silent = 0
    /// Notifications that gave way to one with the same collapse id.
    package var replaced = 0
    package var activityPushes = 0
    package var ignored = 0
    /// Pushes that had to wait.
    package var stored = 0
    /// Stored pushes that gave way to a newer one.
    package var overwritten = 0
    /// Pushes that could not wait, or not that long.
    package var expired = 0
    /// Pushes that APNs refused.
    package var refused = 0
}
