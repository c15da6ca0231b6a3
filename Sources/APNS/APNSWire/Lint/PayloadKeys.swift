/// A key that the rules know, in one object of a payload.
protocol PayloadKey: RawRepresentable<UInt8>, CaseIterable, Equatable, Sendable {
    var label: StaticString { get }
    /// The index of the first key in `PayloadKeys`.
    static var firstBit: UInt8 { get }
}

/// The keys of `aps`.
enum APSKey: UInt8, PayloadKey {
    case alert, badge, sound, category, timestamp, event, attributes, threadID, contentAvailable, mutableContent
    case targetContentID, interruptionLevel, relevanceScore, filterCriteria, contentChanged, contentState, staleDate
    case dismissalDate, attributesType, inputPushToken, inputPushChannel, urlArgs, pttPushType

    static var firstBit: UInt8 { 0 }

    var label: StaticString {
        switch self {
        case .alert: "alert"
        case .badge: "badge"
        case .sound: "sound"
        case .category: "category"
        case .timestamp: "timestamp"
        case .event: "event"
        case .attributes: "attributes"
        case .threadID: "thread-id"
        case .contentAvailable: "content-available"
        case .mutableContent: "mutable-content"
        case .targetContentID: "target-content-id"
        case .interruptionLevel: "interruption-level"
        case .relevanceScore: "relevance-score"
        case .filterCriteria: "filter-criteria"
        case .contentChanged: "content-changed"
        case .contentState: "content-state"
        case .staleDate: "stale-date"
        case .dismissalDate: "dismissal-date"
        case .attributesType: "attributes-type"
        case .inputPushToken: "input-push-token"
        case .inputPushChannel: "input-push-channel"
        case .urlArgs: "url-args"
        case .pttPushType: "ptt-push-type"
        }
    }

    /// Whether an app may plausibly use this name for a custom key next to `aps`.
    var isCommonWord: Bool {
        switch self {
        case .category, .timestamp, .event, .attributes: true
        default: false
        }
    }

    init?(_ name: UnsafeRawBufferPointer) {
        let found: APSKey? =
            switch name.count {
            case 5: Self.match(name, .alert, .badge, .sound, .event)
            case 8: Self.match(name, .category, .urlArgs)
            case 9: Self.match(name, .timestamp, .threadID)
            case 10: Self.match(name, .attributes, .staleDate)
            case 13: Self.match(name, .contentState, .pttPushType)
            case 14: Self.match(name, .dismissalDate)
            case 15:
                Self.match(name, .mutableContent, .relevanceScore, .filterCriteria)
                    ?? Self.match(name, .contentChanged, .attributesType)
            case 16: Self.match(name, .inputPushToken)
            case 17: Self.match(name, .contentAvailable, .targetContentID)
            case 18: Self.match(name, .interruptionLevel, .inputPushChannel)
            default: nil
            }
        guard let found else { return nil }
        self = found
    }
}

/// The keys of `alert`, in the order of their names.
enum AlertKey: UInt8, PayloadKey {
    case action, actionLocKey, body, launchImage, locArgs, locKey, sound, subtitle, subtitleLocArgs, subtitleLocKey
    case summaryArg, summaryArgCount, title, titleLocArgs, titleLocKey

    static var firstBit: UInt8 { 23 }

    var label: StaticString {
        switch self {
        case .action: "action"
        case .actionLocKey: "action-loc-key"
        case .body: "body"
        case .launchImage: "launch-image"
        case .locArgs: "loc-args"
        case .locKey: "loc-key"
        case .sound: "sound"
        case .subtitle: "subtitle"
        case .subtitleLocArgs: "subtitle-loc-args"
        case .subtitleLocKey: "subtitle-loc-key"
        case .summaryArg: "summary-arg"
        case .summaryArgCount: "summary-arg-count"
        case .title: "title"
        case .titleLocArgs: "title-loc-args"
        case .titleLocKey: "title-loc-key"
        }
    }

    init?(_ name: UnsafeRawBufferPointer) {
        let found: AlertKey? =
            switch name.count {
            case 4: Self.match(name, .body)
            case 5: Self.match(name, .title, .sound)
            case 6: Self.match(name, .action)
            case 7: Self.match(name, .locKey)
            case 8: Self.match(name, .subtitle, .locArgs)
            case 11: Self.match(name, .summaryArg)
            case 12: Self.match(name, .launchImage)
            case 13: Self.match(name, .titleLocKey)
            case 14: Self.match(name, .titleLocArgs, .actionLocKey)
            case 16: Self.match(name, .subtitleLocKey)
            case 17: Self.match(name, .subtitleLocArgs, .summaryArgCount)
            default: nil
            }
        guard let found else { return nil }
        self = found
    }
}

/// The keys of `sound`.
enum SoundKey: UInt8, PayloadKey {
    case critical, name, volume

    static var firstBit: UInt8 { 38 }

    var label: StaticString {
        switch self {
        case .critical: "critical"
        case .name: "name"
        case .volume: "volume"
        }
    }

    init?(_ name: UnsafeRawBufferPointer) {
        guard let found = Self.match(name, .critical, .name, .volume) else { return nil }
        self = found
    }
}

/// The root keys of MDM and file provider pushes.
enum RootKey: UInt8, PayloadKey {
    case mdm, containerIdentifier

    static var firstBit: UInt8 { 41 }

    var label: StaticString {
        switch self {
        case .mdm: "mdm"
        case .containerIdentifier: "container-identifier"
        }
    }
}

/// A key of the payload's object.
enum RootName {
    case aps
    case known(RootKey)
    /// A key of `aps`, which has no effect here.
    case misplaced(APSKey)
    /// Probably meant as `aps`.
    case misspelt
    case custom

    init(_ name: UnsafeRawBufferPointer) {
        if name.equals("aps") {
            self = .aps
        } else if let key = RootKey.match(name, .mdm, .containerIdentifier) {
            self = .known(key)
        } else if let key = APSKey(name), !key.isCommonWord {
            self = .misplaced(key)
        } else {
            self = KeySpelling.isClose(name, to: "aps") ? .misspelt : .custom
        }
    }
}

/// A set of keys of the payload: a bit for each.
struct PayloadKeys: OptionSet {
    let rawValue: UInt64

    static func bit(_ index: UInt8) -> PayloadKeys { PayloadKeys(rawValue: 1 << UInt64(index)) }
}

extension PayloadKey {
    var bit: PayloadKeys { .bit(Self.firstBit + rawValue) }

    /// The one of these keys that is called `name`. No variadic parameter, which would be an allocated array.
    @inline(__always)
    static func match(
        _ name: UnsafeRawBufferPointer, _ a: Self, _ b: Self? = nil, _ c: Self? = nil, _ d: Self? = nil
    ) -> Self? {
        if name.equals(a.label) { return a }
        if let b, name.equals(b.label) { return b }
        if let c, name.equals(c.label) { return c }
        if let d, name.equals(d.label) { return d }
        return nil
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        for index in 0..<count where self[index] != text.utf8Start[index] { return false }
        return true
    }
}
