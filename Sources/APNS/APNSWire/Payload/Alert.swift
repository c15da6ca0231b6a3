/// The visible text of a push: its `alert`.
///
/// A string literal, with or without interpolations, is an alert that has a body only:
/// `aps.alert = "Order \(number) is ready"`.
public struct Alert: Sendable, Hashable, ExpressibleByStringInterpolation {
    /// A text, or the key of a text in the app's `Localizable.strings`.
    ///
    /// A string literal, with or without interpolations, is a plain text.
    public enum Text: Sendable, Hashable, ExpressibleByStringInterpolation {
        case plain(String)
        /// `args` replace the placeholders `%@` in order.
        case localized(_ key: String, args: [String] = [])

        public init(stringLiteral value: String) { self = .plain(value) }
    }

    public var title: Text?
    /// Not shown by Live Activities.
    public var subtitle: Text?
    public var body: Text?
    /// The launch image in the app's bundle.
    public var launchImage: String?
    /// The label of the action button of a Safari push.
    public var action: String?
    /// The key of the label of the action button, for old systems.
    public var actionLocKey: String?
    /// The argument of a group's summary, for iOS 12 to 14.
    public var summaryArg: String?
    /// How many items this push adds to a group's summary, for iOS 12 to 14.
    public var summaryArgCount: Int?

    public init(title: Text? = nil, subtitle: Text? = nil, body: Text? = nil, launchImage: String? = nil) {
        self.title = title
        self.subtitle = subtitle
        self.body = body
        self.launchImage = launchImage
    }

    public init(title: String?, subtitle: String? = nil, body: String? = nil) {
        self.init(title: title.map(Text.plain), subtitle: subtitle.map(Text.plain), body: body.map(Text.plain))
    }

    public init(body: String) {
        self.init(title: nil, body: .plain(body))
    }

    public init(stringLiteral value: String) {
        self.init(body: value)
    }

    /// The body, if the alert has no other content and can be written as a string; otherwise nil.
    var plainBody: String? {
        guard case .plain(let text) = body, self == Alert(body: text) else { return nil }
        return text
    }

    func write(to writer: inout ObjectWriter) {
        Self.write(title, "title", "title-loc-key", "title-loc-args", to: &writer)
        Self.write(subtitle, "subtitle", "subtitle-loc-key", "subtitle-loc-args", to: &writer)
        Self.write(body, "body", "loc-key", "loc-args", to: &writer)
        writeRest(to: &writer)
    }

    /// Writes the form of Live Activities, in which localised texts are objects.
    func writeLiveActivity(to writer: inout ObjectWriter) {
        Self.writeLiveActivity(title, "title", to: &writer)
        Self.writeLiveActivity(subtitle, "subtitle", to: &writer)
        Self.writeLiveActivity(body, "body", to: &writer)
        writeRest(to: &writer)
    }

    private func writeRest(to writer: inout ObjectWriter) {
        writer.write("launch-image", launchImage)
        writer.write("action", action)
        writer.write("action-loc-key", actionLocKey)
        writer.write("summary-arg", summaryArg)
        writer.write("summary-arg-count", summaryArgCount)
    }

    private static func write(
        _ text: Text?, _ plainKey: StaticString, _ locKey: StaticString, _ argsKey: StaticString,
        to writer: inout ObjectWriter
    ) {
        switch text {
        case nil: break
        case .plain(let text): writer.write(plainKey, text)
        case .localized(let key, let args):
            writer.write(locKey, key)
            if !args.isEmpty { writer.write(argsKey, args) }
        }
    }

    private static func writeLiveActivity(_ text: Text?, _ key: StaticString, to writer: inout ObjectWriter) {
        switch text {
        case nil: break
        case .plain(let text): writer.write(key, text)
        case .localized(let locKey, let args):
            writer.writeObject(key) { object in
                object.write("loc-key", locKey)
                if !args.isEmpty { object.write("loc-args", args) }
            }
        }
    }
}

/// The sound of a push.
///
/// A string literal, with or without interpolations, is the name of a sound file of the app.
public enum AlertSound: Sendable, Hashable, ExpressibleByStringInterpolation {
    /// The system's default sound.
    case `default`
    /// A file in the app's bundle or container.
    case named(String)
    /// Plays even if the device is muted; the app needs an entitlement from Apple. `volume` is 0...1.
    case critical(name: String = "default", volume: Double = 1)

    public init(stringLiteral value: String) { self = .named(value) }

    func write(_ key: StaticString, to writer: inout ObjectWriter) {
        switch self {
        case .default: writer.write(key, "default")
        case .named(let name): writer.write(key, name)
        case .critical(let name, let volume):
            writer.writeObject(key) { object in
                object.write("critical", 1)
                object.write("name", name)
                object.write("volume", volume)
            }
        }
    }
}

/// How much a push interrupts the user.
public enum InterruptionLevel: String, Sendable, CaseIterable, Hashable {
    /// Adds the push to the list without lighting the screen or playing a sound.
    case passive
    /// The system's default.
    case active
    /// Breaks through Focus; the app needs a capability.
    case timeSensitive = "time-sensitive"
    /// Breaks through Focus and mute; the app needs an entitlement from Apple.
    case critical
}
