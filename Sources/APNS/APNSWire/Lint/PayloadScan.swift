import JSONText

/// The keys of `aps`.
enum APSKey: String, CaseIterable {
    case alert, badge, sound, category, timestamp, event, attributes
    case threadID = "thread-id"
    case contentAvailable = "content-available"
    case mutableContent = "mutable-content"
    case targetContentID = "target-content-id"
    case interruptionLevel = "interruption-level"
    case relevanceScore = "relevance-score"
    case filterCriteria = "filter-criteria"
    case contentChanged = "content-changed"
    case contentState = "content-state"
    case staleDate = "stale-date"
    case dismissalDate = "dismissal-date"
    case attributesType = "attributes-type"
    case inputPushToken = "input-push-token"
    case inputPushChannel = "input-push-channel"
    case urlArgs = "url-args"
    case pttPushType = "ptt-push-type"

    /// Whether an app may plausibly use this name for a custom key next to `aps`.
    var isCommonWord: Bool {
        switch self {
        case .category, .timestamp, .event, .attributes: true
        default: false
        }
    }
}

/// A JSON value in the detail that the rules need.
enum PayloadValue: Equatable {
    case string(String)
    /// `isInteger`: whether it is written without fraction and exponent.
    case number(Double, isInteger: Bool)
    case boolean(Bool)
    case null
    case array
    case object

    var isOne: Bool {
        if case .number(1, _) = self { true } else { false }
    }
}

/// The members of a payload that the rules need, collected in one pass.
struct PayloadScan {
    enum FormatError: Equatable {
        case notObject
        case malformed(JSONError)
    }

    /// nil if the payload is a JSON object.
    private(set) var formatError: FormatError?
    /// nil if there is no member `aps`.
    private(set) var apsKind: JSONReader.Kind?
    private(set) var aps: [APSKey: PayloadValue] = [:]
    /// Members of `alert`, if it is an object.
    private(set) var alert: [String: PayloadValue] = [:]
    /// Members of `sound`, in `aps` or in `alert`, if it is an object.
    private(set) var sound: [String: PayloadValue] = [:]
    /// Keys of `aps` that are next to it instead of inside it.
    private(set) var outside: [APSKey] = []
    /// The root keys of MDM and file provider pushes.
    private(set) var root: [String: PayloadValue] = [:]
    private(set) var repeated: [String] = []
    /// Known keys that an unknown key of the payload resembles.
    private(set) var misspelt: [String] = []

    mutating func read(_ bytes: UnsafeRawBufferPointer) {
        var reader = JSONReader(bytes)
        do throws(JSONError) {
            // The whole text is checked first: a truncated payload gives one finding, not several about its first half.
            var check = reader
            let kind = try check.peekKind()
            try check.skipValue()
            try check.finish()
            guard kind == .object else {
                formatError = .notObject
                return
            }
            try readMembers(&reader) { scan, key, reader throws(JSONError) in try scan.readRoot(key, &reader) }
        } catch {
            formatError = .malformed(error)
        }
    }

    private mutating func readRoot(_ key: String, _ reader: inout JSONReader) throws(JSONError) {
        switch key {
        case "aps":
            if apsKind != nil { repeated.append(key) }
            apsKind = try reader.peekKind()
            guard apsKind == .object else {
                try reader.skipValue()
                return
            }
            try readMembers(&reader) { scan, key, reader throws(JSONError) in try scan.readAPS(key, &reader) }
        case "mdm", "container-identifier":
            root[key] = try readValue(&reader)
        default:
            if let known = APSKey(rawValue: key), !known.isCommonWord { outside.append(known) }
            if KeySpelling.isClose(key, to: "aps") { misspelt.append("aps") }
            try reader.skipValue()
        }
    }

    private mutating func readAPS(_ key: String, _ reader: inout JSONReader) throws(JSONError) {
        guard let known = APSKey(rawValue: key) else {
            recordMisspelling(key, of: APSKey.allCases.lazy.map(\.rawValue))
            try reader.skipValue()
            return
        }
        if aps[known] != nil { repeated.append(key) }
        let kind = try reader.peekKind()
        if known == .alert, kind == .object {
            aps[known] = .object
            try readMembers(&reader) { scan, key, reader throws(JSONError) in try scan.readAlert(key, &reader) }
        } else if known == .sound, kind == .object {
            aps[known] = .object
            try readSound(&reader)
        } else {
            aps[known] = try readValue(&reader)
        }
    }

    private mutating func readAlert(_ key: String, _ reader: inout JSONReader) throws(JSONError) {
        if alert[key] != nil { repeated.append(key) }
        guard Self.alertKeys.contains(key) else {
            recordMisspelling(key, of: Self.alertKeys)
            try reader.skipValue()
            return
        }
        if key == "sound", try reader.peekKind() == .object {
            alert[key] = .object
            try readSound(&reader)
        } else {
            alert[key] = try readValue(&reader)
        }
    }

    private mutating func readSound(_ reader: inout JSONReader) throws(JSONError) {
        try readMembers(&reader) { scan, key, reader throws(JSONError) in
            if !Self.soundKeys.contains(key) { scan.recordMisspelling(key, of: Self.soundKeys) }
            scan.sound[key] = try scan.readValue(&reader)
        }
    }

    private mutating func recordMisspelling(_ key: String, of known: some Sequence<String>) {
        if let intended = known.first(where: { KeySpelling.isClose(key, to: $0) }) { misspelt.append(intended) }
    }

    private static let alertKeys = [
        "title", "subtitle", "body", "launch-image", "title-loc-key", "title-loc-args", "subtitle-loc-key",
        "subtitle-loc-args", "loc-key", "loc-args", "action", "action-loc-key", "summary-arg", "summary-arg-count",
        "sound",
    ]
    private static let soundKeys = ["critical", "name", "volume"]

    // MARK: Reading

    private mutating func readMembers(
        _ reader: inout JSONReader,
        _ read: (inout PayloadScan, String, inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        try reader.enterObject()
        var isFirst = true
        while let key = try reader.nextKey(isFirst: isFirst) {
            isFirst = false
            try read(&self, reader.text(key), &reader)
        }
    }

    private func readValue(_ reader: inout JSONReader) throws(JSONError) -> PayloadValue {
        switch try reader.peekKind() {
        case .string: return .string(reader.text(try reader.readString()))
        case .boolean: return .boolean(try reader.readBoolean())
        case .null:
            try reader.readNull()
            return .null
        case .number:
            let range = try reader.skipValue()
            let text = String(decoding: UnsafeRawBufferPointer(rebasing: reader.bytes[range]), as: UTF8.self)
            // `Double` accepts every number that the reader accepts.
            return .number(Double(text) ?? .infinity, isInteger: !text.utf8.contains(where: Self.isPointOrExponent))
        case .array:
            try reader.skipValue()
            return .array
        case .object:
            try reader.skipValue()
            return .object
        }
    }

    private static func isPointOrExponent(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e")
    }
}
