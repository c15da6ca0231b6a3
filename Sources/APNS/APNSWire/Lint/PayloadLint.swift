import JSONText

/// Checks the payload of a push.
struct PayloadLint {
    let pushType: PushType
    let target: NotificationLint.Target
    private let shape: PushType.PayloadShape
    private var scan = PayloadScan()
    private(set) var findings: [LintFinding] = []

    init(_ headers: NotificationHeaders, target: NotificationLint.Target) {
        pushType = headers.pushType
        self.target = target
        // A push for a Wallet pass has an empty payload: the device asks the server for changes (Apple, "Updating a
        // Pass").
        let isPass = headers.pushType == .alert && headers.topic.hasPrefix("pass.")
        shape = isPass ? .free : headers.pushType.payloadShape
    }

    mutating func run(_ payload: UnsafeRawBufferPointer) {
        guard !payload.isEmpty else { return add(.payloadEmpty, "the payload is empty") }
        checkSize(payload.count)
        scan.read(payload)
        switch scan.formatError {
        case .notObject: return add(.payloadNotObject, "the payload is JSON, but not an object")
        case .malformed(let error): return add(.payloadNotJSON, "the payload is not JSON: \(error)")
        case nil: break
        }
        checkKeys()
        checkShape()
        if scan.apsKind == .object {
            checkTypes()
            checkValues()
            checkSound()
            checkTimes()
        }
    }

    private mutating func add(_ code: LintCode, _ message: String, severity: LintFinding.Severity? = nil) {
        findings.append(LintFinding(code, message, severity: severity))
    }

    private func has(_ key: APSKey) -> Bool { scan.aps[key] != nil }

    private mutating func checkSize(_ count: Int) {
        let max =
            switch target {
            case .device: pushType.payloadBytesMax
            case .channel: APNSLimits.broadcastPayloadBytesMax
            }
        if count > max { add(.payloadTooLarge, "the payload has \(count) bytes, and \(max) are allowed") }
    }

    private mutating func checkKeys() {
        for key in scan.repeated { add(.apsKeyTwice, "`\(key)` occurs twice") }
        for key in scan.misspelt { add(.keyMisspelt, "a key resembles `\(key)` but is spelt differently") }
        for key in scan.outside where !has(key) {
            add(.apsKeyOutside, "`\(key.rawValue)` is next to `aps`, where it has no effect")
        }
    }

    // MARK: Shape of the push type

    private mutating func checkShape() {
        if let kind = scan.apsKind, kind != .object { return add(.apsNotObject, "`aps` is not an object") }
        switch shape {
        case .visible: if requireAPS() { checkVisible() }
        case .silent: if requireAPS() { checkSilent() }
        case .liveActivity: if requireAPS() { checkLiveActivity() }
        case .contentChanged: if requireAPS() { checkContentChanged() }
        case .mdm: checkMDM()
        case .fileProvider: checkFileProvider()
        case .free: break
        }
    }

    /// Adds a finding if there is no `aps`.
    ///
    /// - Returns: whether there is one.
    private mutating func requireAPS() -> Bool {
        if scan.apsKind == nil { add(.apsMissing, "`aps` is missing in a push of type \(pushType)") }
        return scan.apsKind != nil
    }

    private mutating func checkVisible() {
        guard !has(.alert), !has(.badge), !has(.sound) else { return }
        add(.alertWithoutContent, "`aps` has no `alert`, `badge` or `sound`, so the user notices nothing")
    }

    private mutating func checkSilent() {
        if has(.alert) || has(.badge) || has(.sound) {
            add(.backgroundVisible, "`alert`, `badge` and `sound` are not allowed in a background push")
        }
        if !has(.contentAvailable) {
            add(.backgroundContentAvailable, "`content-available` is missing, so the push does not wake the app")
        }
    }

    private mutating func checkContentChanged() {
        guard scan.aps[.contentChanged] != .boolean(true) else { return }
        add(.contentChanged, "`content-changed` is not `true` in a push of type \(pushType)")
    }

    private mutating func checkMDM() {
        guard case .string = scan.root["mdm"] else {
            return add(.mdmPayload, "`mdm` is missing or not a string in an MDM push")
        }
        if scan.apsKind != nil { add(.mdmPayload, "`aps` is not used in an MDM push", severity: .warning) }
    }

    private mutating func checkFileProvider() {
        guard case .string = scan.root["container-identifier"] else {
            return add(
                .fileProviderPayload, "`container-identifier` is missing or not a string in a file provider push")
        }
    }

    // MARK: Live Activities

    private mutating func checkLiveActivity() {
        if !has(.timestamp) { add(.liveActivityTimestamp, "`timestamp` is missing in a Live Activity push") }
        if has(.sound) { add(.liveActivitySound, "`sound` has no effect outside `alert` in a Live Activity push") }
        guard case .string(let name) = scan.aps[.event], let event = LiveActivityContent.Event(rawValue: name) else {
            return add(.liveActivityEvent, "`event` is missing or unknown in a Live Activity push")
        }
        if !has(.contentState) {
            // An end without content is only suspicious: the activity keeps showing its last content.
            let severity: LintFinding.Severity = event == .end ? .warning : .error
            add(.liveActivityContentState, "`content-state` is missing with the event \(event)", severity: severity)
        }
        if has(.dismissalDate), event != .end {
            add(.dismissalWithoutEnd, "`dismissal-date` has no effect with the event \(event)")
        }
        if event == .start { checkStart() } else { checkKeysOfStart(absentIn: event) }
    }

    private mutating func checkStart() {
        if case .channel = target { add(.broadcastEvent, "`event` is start, which a broadcast cannot do") }
        if !has(.attributesType) {
            add(.liveActivityAttributesType, "`attributes-type` is missing with the event start")
        }
        if !has(.attributes) { add(.liveActivityAttributes, "`attributes` is missing with the event start") }
        if !has(.alert) { add(.liveActivityAlert, "`alert` is missing with the event start") }
        let token = scan.aps[.inputPushToken]
        if token.map({ !$0.isOne }) ?? false { add(.liveActivityInput, "`input-push-token` is not 1") }
        if token != nil, has(.inputPushChannel) {
            add(.liveActivityInput, "`input-push-token` and `input-push-channel` exclude each other")
        }
        if case .string(let channel) = scan.aps[.inputPushChannel], ChannelID(channel) == nil {
            add(.liveActivityInput, "`input-push-channel` is not a channel ID in base64")
        }
    }

    private mutating func checkKeysOfStart(absentIn event: LiveActivityContent.Event) {
        for key in [APSKey.attributesType, .attributes, .inputPushToken, .inputPushChannel] where has(key) {
            add(.liveActivityStartOnly, "`\(key.rawValue)` has no effect with the event \(event)")
        }
    }

    // MARK: Values

    private mutating func checkTypes() {
        for key in APSKey.allCases {
            guard let value = scan.aps[key] else { continue }
            switch (key, value) {
            case (.alert, .string), (.alert, .object), (.sound, .string), (.sound, .object),
                (.category, .string), (.threadID, .string), (.targetContentID, .string), (.filterCriteria, .string),
                (.attributesType, .string), (.inputPushChannel, .string), (.timestamp, .number),
                (.staleDate, .number), (.dismissalDate, .number), (.contentState, .object), (.attributes, .object),
                (.urlArgs, .array):
                break
            // Checked by rules of their own.
            case (.badge, _), (.contentAvailable, _), (.mutableContent, _), (.interruptionLevel, _),
                (.relevanceScore, _), (.contentChanged, _), (.event, _), (.inputPushToken, _), (.pttPushType, _):
                break
            case (.alert, _), (.sound, _): add(.valueType, "`\(key.rawValue)` is neither a string nor an object")
            case (.timestamp, _), (.staleDate, _), (.dismissalDate, _):
                add(.valueType, "`\(key.rawValue)` is not a number")
            case (.contentState, _), (.attributes, _): add(.valueType, "`\(key.rawValue)` is not an object")
            case (.urlArgs, _): add(.valueType, "`\(key.rawValue)` is not an array")
            case (.category, _), (.threadID, _), (.targetContentID, _), (.filterCriteria, _), (.attributesType, _),
                (.inputPushChannel, _):
                add(.valueType, "`\(key.rawValue)` is not a string")
            }
        }
        checkAlertTypes()
    }

    private mutating func checkAlertTypes() {
        for (key, value) in scan.alert.sorted(by: { $0.key < $1.key }) {
            switch (key, value) {
            case ("title", .object), ("subtitle", .object), ("body", .object):
                guard pushType != .liveactivity else { break }
                add(.valueType, "`\(key)` of `alert` is an object, which is for Live Activities only")
            case ("title-loc-args", .array), ("subtitle-loc-args", .array), ("loc-args", .array),
                ("summary-arg-count", .number):
                break
            case ("title-loc-args", _), ("subtitle-loc-args", _), ("loc-args", _):
                add(.valueType, "`\(key)` of `alert` is not an array")
            case ("summary-arg-count", _): add(.valueType, "`\(key)` of `alert` is not a number")
            case ("sound", .string), ("sound", .object):
                guard pushType != .liveactivity else { break }
                add(.valueType, "`sound` is inside `alert`, which is for Live Activities only")
            case (_, .string): break
            default: add(.valueType, "`\(key)` of `alert` is not a string")
            }
        }
    }

    private mutating func checkValues() {
        switch scan.aps[.badge] {
        case nil: break
        case .number(let badge, isInteger: true) where badge >= 0: break
        default: add(.badge, "`badge` is not a whole number of at least 0")
        }
        if let flag = scan.aps[.contentAvailable], !flag.isOne {
            add(.contentAvailable, "`content-available` is not the number 1")
        }
        if let flag = scan.aps[.mutableContent], !flag.isOne {
            add(.mutableContent, "`mutable-content` is not the number 1")
        }
        if let level = scan.aps[.interruptionLevel], !InterruptionLevel.allCases.contains(where: level.isText) {
            add(.interruptionLevel, "`interruption-level` has an undefined value")
        }
        if let ptt = scan.aps[.pttPushType], !PushToTalkPushType.allCases.contains(where: ptt.isText) {
            add(.pttPushType, "`ptt-push-type` has an undefined value")
        }
        switch scan.aps[.relevanceScore] {
        case nil: break
        case .number(let score, _) where pushType == .liveactivity || (0...1).contains(score): break
        default: add(.relevanceScore, "`relevance-score` is not a number from 0 to 1")
        }
    }

    private mutating func checkSound() {
        guard scan.aps[.sound] == .object || scan.alert["sound"] == .object else { return }
        if scan.sound["critical"].map({ !$0.isOne }) ?? true {
            add(.criticalSound, "`critical` of `sound` is not 1")
        }
        if case .string = scan.sound["name"] {
        } else {
            add(.criticalSound, "`name` of `sound` is missing or not a string")
        }
        switch scan.sound["volume"] {
        case nil: break
        case .number(let volume, _) where (0...1).contains(volume): break
        default: add(.criticalVolume, "`volume` of `sound` is not a number from 0 to 1")
        }
    }

    private mutating func checkTimes() {
        for key in [APSKey.timestamp, .staleDate, .dismissalDate] {
            guard case .number(let time, let isInteger) = scan.aps[key] else { continue }
            if !isInteger { add(.timeFraction, "`\(key.rawValue)` is not written as a whole number") }
            if time >= Double(HeaderLint.millisecondsMin) {
                add(.timeMilliseconds, "`\(key.rawValue)` looks like milliseconds")
            }
        }
    }
}

extension PayloadValue {
    fileprivate func isText(_ value: some RawRepresentable<String>) -> Bool { self == .string(value.rawValue) }
}
