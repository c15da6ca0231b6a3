/// The `aps` dictionary: the part of a payload that the system interprets.
///
/// Source: Apple, "Generating a remote notification", "Starting and updating Live Activities with ActivityKit push
/// notifications", "Updating widgets with WidgetKit push notifications"; read 2026-11-23.
public struct APS: Sendable, Hashable {
    public var alert: Alert?
    /// 0 removes the badge; nil leaves it as it is.
    public var badge: Int?
    /// With a Live Activity it is written inside `alert`, where the system expects it.
    public var sound: AlertSound?
    /// Groups pushes in the notification list.
    public var threadID: String?
    /// A category that the app has registered.
    public var category: String?
    /// Wakes the app in the background.
    public var isContentAvailable = false
    /// Runs the app's notification service extension first.
    public var isMutableContent = false
    /// The window to bring to the front.
    public var targetContentID: String?
    public var interruptionLevel: InterruptionLevel?
    /// 0...1 for the notification summary; any number for a Live Activity.
    public var relevanceScore: Double?
    /// The criteria by which a Focus filter admits the push.
    public var filterCriteria: String?
    /// Requests a reload of widgets and controls.
    public var isContentChanged = false
    public var liveActivity: LiveActivityContent?
    /// Fills the placeholders of a website's URL template, for Safari 15 and older.
    public var urlArgs: [String]?
    public var pttPushType: PushToTalkPushType?

    public init() {}

    public var isEmpty: Bool { self == APS() }

    func write(to writer: inout ObjectWriter) {
        if liveActivity != nil { writeLiveActivityAlert(to: &writer) } else { writeAlert(to: &writer) }
        writer.write("badge", badge)
        if liveActivity == nil { sound?.write("sound", to: &writer) }
        writer.write("thread-id", threadID)
        writer.write("category", category)
        writer.writeFlag("content-available", isContentAvailable)
        writer.writeFlag("mutable-content", isMutableContent)
        writer.write("target-content-id", targetContentID)
        writer.write("interruption-level", interruptionLevel?.rawValue)
        writer.write("relevance-score", relevanceScore)
        writer.write("filter-criteria", filterCriteria)
        writer.writeTrue("content-changed", isContentChanged)
        liveActivity?.write(to: &writer)
        writer.write("url-args", urlArgs)
        writer.write("ptt-push-type", pttPushType?.rawValue)
    }

    private func writeAlert(to writer: inout ObjectWriter) {
        guard let alert else { return }
        if let body = alert.plainBody {
            writer.write("alert", body)
        } else {
            writer.writeObject("alert", alert.write)
        }
    }

    private func writeLiveActivityAlert(to writer: inout ObjectWriter) {
        guard alert != nil || sound != nil else { return }
        writer.writeObject("alert") { object in
            alert?.writeLiveActivity(to: &object)
            sound?.write("sound", to: &object)
        }
    }
}

/// The kind of a Push to Talk push that does not announce a speaker. Source: Apple developer forum, thread 787878.
public enum PushToTalkPushType: String, Sendable, CaseIterable, Hashable {
    /// Data for the app without audio, from iOS 17.2 on.
    case serviceUpdate = "service-update"
}
