import JSONText

/// The parsed payload of a push. Members of a wrong type are ignored, as on iOS.
///
/// Source: Apple, "Generating a remote notification", tables 1 to 3; ActivityKit, "Starting and updating Live
/// Activities with ActivityKit push notifications".
package struct PushPayload: Equatable, Sendable {
    package struct Sound: Equatable, Sendable {
        package var name: String
        package var isCritical: Bool

        package init(name: String, isCritical: Bool = false) {
            self.name = name
            self.isCritical = isCritical
        }
    }

    /// The members of `aps` that concern a Live Activity.
    package struct Activity: Equatable, Sendable {
        package var event = ""
        /// UNIX seconds.
        package var timestamp: Int64?
        /// nil if it is missing or not an object.
        package var state: [PayloadField]?
        /// UNIX seconds.
        package var staleDate: Int64?
        /// UNIX seconds.
        package var dismissalDate: Int64?
        package var attributesType = ""
        package var attributes: [PayloadField] = []
        /// `input-push-channel`: base64.
        package var channel = ""
    }

    package var title = ""
    package var subtitle = ""
    package var body = ""
    package var hasAlert = false
    package var badge: Int?
    package var sound: Sound?
    package var threadID = ""
    package var category = ""
    /// `passive`, `active`, `time-sensitive` or `critical`; any other text is `active`.
    package var interruptionLevel = "active"
    package var activity = Activity()

    /// - Returns: nil if `json` is not a JSON object.
    package init?(_ json: [UInt8]) {
        let payload = json.withUnsafeBytes { bytes -> PushPayload? in
            var reader = PayloadReader(bytes)
            guard let payload = try? reader.payload() else { return nil }
            return payload
        }
        guard let payload else { return nil }
        self = payload
    }

    init() {}
}

/// A flattened member of a content state, named by its path: `team.name`, `scores[0]`.
package struct PayloadField: Equatable, Sendable {
    package enum Kind: String, Sendable {
        case text, number, boolean, null
    }

    /// The largest number of fields of one object.
    package static let countMax = 24
    package static let depthMax = 4

    package var name: String
    package var value: String
    package var kind: Kind
}

/// Parses a payload in one pass.
private struct PayloadReader {
    private static let levels: Set<String> = ["passive", "active", "time-sensitive", "critical"]

    private var reader: JSONReader

    init(_ bytes: UnsafeRawBufferPointer) {
        reader = JSONReader(bytes)
    }

    mutating func payload() throws -> PushPayload? {
        guard try reader.peekKind() == .object else { return nil }
        var payload = PushPayload()
        try members { name, reader in
            if name == "aps", try reader.reader.peekKind() == .object {
                try reader.aps(&payload)
            } else {
                try reader.reader.skipValue()
            }
        }
        try reader.finish()
        return payload
    }

    private mutating func aps(_ payload: inout PushPayload) throws {
        try members { name, reader in
            switch name {
            case "alert": try reader.alert(&payload)
            case "badge": payload.badge = try reader.integer().flatMap { Int(exactly: $0) }
            case "sound": payload.sound = try reader.sound()
            case "thread-id": payload.threadID = try reader.string() ?? ""
            case "category": payload.category = try reader.string() ?? ""
            case "interruption-level":
                let level = try reader.string() ?? ""
                payload.interruptionLevel = Self.levels.contains(level) ? level : "active"
            default: try reader.activity(name, &payload.activity)
            }
        }
        if payload.sound?.isCritical == true { payload.interruptionLevel = "critical" }
    }

    private mutating func activity(_ name: String, _ activity: inout PushPayload.Activity) throws {
        switch name {
        case "event": activity.event = try string() ?? ""
        case "timestamp": activity.timestamp = try integer()
        case "stale-date": activity.staleDate = try integer()
        case "dismissal-date": activity.dismissalDate = try integer()
        case "attributes-type": activity.attributesType = try string() ?? ""
        case "input-push-channel": activity.channel = try string() ?? ""
        case "content-state": activity.state = try fields()
        case "attributes": activity.attributes = try fields() ?? []
        default: try reader.skipValue()
        }
    }

    private mutating func alert(_ payload: inout PushPayload) throws {
        if try reader.peekKind() == .string {
            payload.body = try string() ?? ""
            payload.hasAlert = !payload.body.isEmpty
            return
        }
        guard try reader.peekKind() == .object else { return try skip() }
        var texts: [String: String] = [:]
        var arguments: [String: [String]] = [:]
        try members { name, reader in
            switch name {
            case "title", "body", "subtitle", "title-loc-key", "subtitle-loc-key", "loc-key":
                // In the alert of a Live Activity, title and body may be objects with a key and its arguments.
                texts[name] = try reader.localized()
            case "title-loc-args", "subtitle-loc-args", "loc-args": arguments[name] = try reader.strings()
            case "sound": payload.sound = try reader.sound()
            default: try reader.skip()
            }
        }
        func text(_ name: String, _ key: String, _ list: String) -> String {
            guard let key = texts[key] else { return texts[name] ?? "" }
            return Self.localized(key, arguments[list] ?? [])
        }
        payload.title = text("title", "title-loc-key", "title-loc-args")
        payload.subtitle = text("subtitle", "subtitle-loc-key", "subtitle-loc-args")
        payload.body = text("body", "loc-key", "loc-args")
        payload.hasAlert = !(payload.title.isEmpty && payload.subtitle.isEmpty && payload.body.isEmpty)
    }

    /// Parses a string, or an object with `loc-key` and `loc-args`.
    private mutating func localized() throws -> String? {
        guard try reader.peekKind() == .object else { return try string() }
        var (key, arguments) = ("", [String]())
        try members { name, reader in
            switch name {
            case "loc-key": key = try reader.string() ?? ""
            case "loc-args": arguments = try reader.strings()
            default: try reader.skip()
            }
        }
        return Self.localized(key, arguments)
    }

    /// Shows the key and its arguments, because the app's string tables are not available.
    private static func localized(_ key: String, _ arguments: [String]) -> String {
        arguments.isEmpty ? key : "\(key) (\(arguments.joined(separator: ", ")))"
    }

    private mutating func sound() throws -> PushPayload.Sound? {
        guard try reader.peekKind() == .object else {
            guard let name = try string(), !name.isEmpty else { return nil }
            return PushPayload.Sound(name: name)
        }
        var sound = PushPayload.Sound(name: "default")
        try members { name, reader in
            switch name {
            case "name": sound.name = try reader.string() ?? "default"
            case "critical": sound.isCritical = try reader.integer() == 1
            default: try reader.skip()
            }
        }
        return sound
    }

    // MARK: Fields

    private mutating func fields() throws -> [PayloadField]? {
        guard try reader.peekKind() == .object else {
            try skip()
            return nil
        }
        var fields: [PayloadField] = []
        try flatten("", 0, &fields)
        return fields
    }

    private mutating func flatten(_ path: String, _ depth: Int, _ fields: inout [PayloadField]) throws {
        switch try reader.peekKind() {
        case .object where depth < PayloadField.depthMax:
            try members { name, reader in
                try reader.flatten(path.isEmpty ? name : "\(path).\(name)", depth + 1, &fields)
            }
        case .array where depth < PayloadField.depthMax:
            try reader.enterArray()
            var index = 0
            while try reader.nextElement(isFirst: index == 0) {
                try flatten("\(path)[\(index)]", depth + 1, &fields)
                index += 1
            }
        case .string: Self.append(PayloadField(name: path, value: try string() ?? "", kind: .text), &fields)
        case .number: Self.append(PayloadField(name: path, value: try rawText(), kind: .number), &fields)
        case .boolean: Self.append(PayloadField(name: path, value: try rawText(), kind: .boolean), &fields)
        case .null: Self.append(PayloadField(name: path, value: try rawText(), kind: .null), &fields)
        case .object, .array: Self.append(PayloadField(name: path, value: try rawText(), kind: .text), &fields)
        }
    }

    private static func append(_ field: PayloadField, _ fields: inout [PayloadField]) {
        if fields.count < PayloadField.countMax { fields.append(field) }
    }

    // MARK: Values

    private mutating func members(_ read: (String, inout PayloadReader) throws -> Void) throws {
        try reader.enterObject()
        var isFirst = true
        while let key = try reader.nextKey(isFirst: isFirst) {
            isFirst = false
            try read(reader.text(key), &self)
        }
    }

    private mutating func skip() throws { try reader.skipValue() }

    private mutating func string() throws -> String? {
        guard try reader.peekKind() == .string else {
            try skip()
            return nil
        }
        return reader.text(try reader.readString())
    }

    private mutating func strings() throws -> [String] {
        guard try reader.peekKind() == .array else {
            try skip()
            return []
        }
        try reader.enterArray()
        var texts: [String] = []
        var isFirst = true
        while try reader.nextElement(isFirst: isFirst) {
            isFirst = false
            if let text = try string() { texts.append(text) }
        }
        return texts
    }

    /// Parses a whole number; `1.0` is one.
    private mutating func integer() throws -> Int64? {
        guard try reader.peekKind() == .number else {
            try skip()
            return nil
        }
        let text = try rawText()
        return Int64(text) ?? Double(text).flatMap { Int64(exactly: $0) }
    }

    private mutating func rawText() throws -> String {
        String(decoding: UnsafeRawBufferPointer(rebasing: reader.bytes[try reader.skipValue()]), as: UTF8.self)
    }
}
