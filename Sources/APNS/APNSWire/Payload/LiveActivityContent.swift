/// The part of `aps` that starts, updates or ends a Live Activity.
///
/// Times are sent in whole seconds. Source: Apple, "Starting and updating Live Activities with ActivityKit push notifications",
/// read 2026-11-23.
public struct LiveActivityContent: Sendable, Hashable {
    /// What happens to the activity.
    public enum Event: String, Sendable, CaseIterable, Hashable {
        case start, update, end
    }

    /// What the activity that is started shall be updated by; from iOS 18 on.
    public enum UpdateInput: Sendable, Hashable {
        /// A token, which the app will report.
        case token
        /// A channel. On a system that knows no channels the activity does not start.
        case channel(ChannelID)
    }

    public var event: Event
    /// The device shows the newest; one that is older than what it shows is ignored.
    public var timestamp: UNIXTime
    /// Decoded by the app's `ContentState` with the default strategies of `JSONDecoder`: a `Date` in it is seconds since
    /// 2001, not since 1970.
    public var contentState: JSONObject?
    /// When the content is to be shown as out of date.
    public var staleDate: UNIXTime?
    /// When the card goes after the end: within four hours; a time in the past removes it at once.
    public var dismissalDate: UNIXTime?
    /// Name of the app's `ActivityAttributes` type, to start one.
    public var attributesType: String?
    public var attributes: JSONObject?
    public var updateInput: UpdateInput?

    public init(event: Event, timestamp: UNIXTime, contentState: JSONObject? = nil) {
        self.event = event
        self.timestamp = timestamp
        self.contentState = contentState
    }

    /// Starts an activity; the push needs an alert beside it and goes to a push-to-start token.
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

    /// Shows something else on an activity that was started.
    public static func update(
        contentState: JSONObject, timestamp: UNIXTime, staleDate: UNIXTime? = nil
    ) -> LiveActivityContent {
        var content = LiveActivityContent(event: .update, timestamp: timestamp, contentState: contentState)
        content.staleDate = staleDate
        return content
    }

    /// Ends an activity.
    ///
    /// - Parameter contentState: the last thing to show; without it the card keeps what it had.
    public static func end(
        contentState: JSONObject?, timestamp: UNIXTime, dismissalDate: UNIXTime? = nil
    ) -> LiveActivityContent {
        var content = LiveActivityContent(event: .end, timestamp: timestamp, contentState: contentState)
        content.dismissalDate = dismissalDate
        return content
    }

    /// As `start` above, from the app's own types.
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

    /// As `update` above, from the app's own type.
    public static func update(
        contentState: some Encodable, timestamp: UNIXTime, staleDate: UNIXTime? = nil
    ) throws(PayloadError) -> LiveActivityContent {
        update(contentState: try JSONObject(encoding: contentState), timestamp: timestamp, staleDate: staleDate)
    }

    /// As `end` above, from the app's own type.
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
