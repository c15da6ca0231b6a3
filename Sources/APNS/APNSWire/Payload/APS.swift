/// The `aps` dictionary: what the system itself understands of a push.
///
/// Source: Apple, "Generating a remote notification", "Starting and updating Live Activities with ActivityKit push
/// notifications", "Updating widgets with WidgetKit push notifications"; read 2026-11-23.
public struct APS: Sendable, Hashable {
    public var alert: Alert?
    /// 0 removes the badge; nil leaves it as it is.
    public var badge: Int?
    /// With a Live Activity it is written inside `alert`, where the system looks for it.
    public var sound: AlertSound?
    /// Groups pushes.
    public var threadID: String?
    /// Must be one that the app has registered.
    public var category: String?
    /// Wakes the app in the background.
    public var isContentAvailable = false
    /// Runs the app's notification service extension first.
    public var isMutableContent = false
    /// The window to bring forward.
    public var targetContentID: String?
    public var interruptionLevel: InterruptionLevel?
    /// 0...1 for the summary; any number for a Live Activity.
    public var relevanceScore: Double?
    /// Which Focus filters let it through.
    public var filterCriteria: String?
    /// For widgets and controls.
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

/// What a Push to Talk push is, if it is not about who speaks. Source: Apple developer forum, thread 787878.
public enum PushToTalkPushType: String, Sendable, CaseIterable, Hashable {
    /// From iOS 17.2 on: news for the app, not for the ear.
    case serviceUpdate = "service-update"
}
