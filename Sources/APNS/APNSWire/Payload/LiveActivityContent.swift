/// The part of `aps` that starts, updates or ends a Live Activity.
///
/// Times are sent in whole seconds. Source: Apple, "Starting and updating Live Activities with ActivityKit push notifications",
/// read 2026-11-23.
public struct LiveActivityContent: Sendable, Hashable {
    /// The change to the activity.
    public enum Event: String, Sendable, CaseIterable, Hashable {
        case start, update, end
    }

    /// How a started activity receives its updates, from iOS 18 on.
    public enum UpdateInput: Sendable, Hashable {
        /// A token, which the app reports to its server.
        case token
        /// A channel. The activity does not start on a system without support for channels.
        case channel(ChannelID)
    }

    public var event: Event
    /// The device ignores an update that is older than the one it shows.
    public var timestamp: UNIXTime
    /// Decoded to the app's `ContentState` with the default strategies of `JSONDecoder`: a `Date` is in seconds since
    /// 2001, not since 1970.
    public var contentState: JSONObject?
    /// When the system marks the content as outdated.
    public var staleDate: UNIXTime?
    /// When the system removes the ended activity: within four hours; a time in the past removes it immediately.
    public var dismissalDate: UNIXTime?
    /// The name of the app's `ActivityAttributes` type; required to start an activity.
    public var attributesType: String?
    public var attributes: JSONObject?
    public var updateInput: UpdateInput?

    public init(event: Event, timestamp: UNIXTime, contentState: JSONObject? = nil) {
        self.event = event
        self.timestamp = timestamp
        self.contentState = contentState
    }

    /// Starts an activity. The push needs an alert and must be sent to a push-to-start token.
    public static func start(
        attributesType: String, attributes: JSONObject, contentState: JSONObject, timestamp: UNIXTime,
        staleDate: UNIXTime? = nil, updateInput: UpdateInput? = nil
    ) -> LiveActivityContent {
        var content = LiveActivityContent(event: .start, timestamp: timestamp, contentState: contentState)
        content.attributesType = attributesType
        content.attributes = attributes
        content.staleDate = staleDate
        content.updateInput = updateInput
        return content
    }

    /// Replaces the content of a running activity.
    public static func update(
        contentState: JSONObject, timestamp: UNIXTime, staleDate: UNIXTime? = nil
    ) -> LiveActivityContent {
        var content = LiveActivityContent(event: .update, timestamp: timestamp, contentState: contentState)
        content.staleDate = staleDate
        return content
    }

    /// Ends an activity.
    ///
    /// - Parameter contentState: the final content; nil leaves the content unchanged.
    public static func end(
        contentState: JSONObject?, timestamp: UNIXTime, dismissalDate: UNIXTime? = nil
    ) -> LiveActivityContent {
        var content = LiveActivityContent(event: .end, timestamp: timestamp, contentState: contentState)
        content.dismissalDate = dismissalDate
        return content
    }

    /// Starts an activity, like the other `start`, with content of the app's own types.
    ///
    /// - Throws: `notEncodable`, `notAnObject`.
    public static func start(
        attributesType: String, attributes: some Encodable, contentState: some Encodable, timestamp: UNIXTime,
        staleDate: UNIXTime? = nil, updateInput: UpdateInput? = nil
    ) throws(PayloadError) -> LiveActivityContent {
        start(
            attributesType: attributesType, attributes: try JSONObject(encoding: attributes),
            contentState: try JSONObject(encoding: contentState), timestamp: timestamp, staleDate: staleDate,
            updateInput: updateInput
        )
    }

    /// Replaces the content, like the other `update`, with a value of the app's own type.
    ///
    /// - Throws: `notEncodable`, `notAnObject`.
    public static func update(
        contentState: some Encodable, timestamp: UNIXTime, staleDate: UNIXTime? = nil
    ) throws(PayloadError) -> LiveActivityContent {
        update(contentState: try JSONObject(encoding: contentState), timestamp: timestamp, staleDate: staleDate)
    }

    /// Ends an activity, like the other `end`, with a value of the app's own type.
    ///
    /// - Throws: `notEncodable`, `notAnObject`.
    public static func end(
        contentState: some Encodable, timestamp: UNIXTime, dismissalDate: UNIXTime? = nil
    ) throws(PayloadError) -> LiveActivityContent {
        end(contentState: try JSONObject(encoding: contentState), timestamp: timestamp, dismissalDate: dismissalDate)
    }

    func write(to writer: inout ObjectWriter) {
        writer.write("event", event.rawValue)
        writer.write("timestamp", timestamp.secondsSince1970)
        writer.write("content-state", json: contentState?.bytes)
        writer.write("stale-date", staleDate?.secondsSince1970)
        writer.write("dismissal-date", dismissalDate?.secondsSince1970)
        writer.write("attributes-type", attributesType)
        writer.write("attributes", json: attributes?.bytes)
        switch updateInput {
        case nil: break
        case .token: writer.write("input-push-token", 1)
        case .channel(let channel): writer.write("input-push-channel", channel.text)
        }
    }
}
