import JSONText

/// The rules on the body.
struct PayloadLint {
    let pushType: PushType
    let target: NotificationLint.Target
    private let shape: PushType.PayloadShape
    private var scan = PayloadScan()
    private(set) var findings: [LintFinding] = []

    init(_ headers: NotificationHeaders, target: NotificationLint.Target) {
        pushType = headers.pushType
        self.target = target
        // The push for a pass in the Wallet is empty: the device asks the server what changed (Apple, "Updating a Pass").
        let isPass = headers.pushType == .alert && headers.topic.hasPrefix("pass.")
        shape = isPass ? .free : headers.pushType.payloadShape
    }

    mutating func run(_ payload: UnsafeRawBufferPointer) {
        guard !payload.isEmpty else { return add(.payloadEmpty, "The payload is empty.") }
        checkSize(payload.count)
        scan.read(payload)
        switch scan.fault {
        case .notObject: return add(.payloadNotObject, "The payload is JSON, but not an object.")
        case .malformed(let error): return add(.payloadNotJSON, "The payload is not JSON: \(error).")
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
        if count > max { add(.payloadTooLarge, "The payload has \(count) bytes, and \(max) are allowed.") }
    }

    private mutating func checkKeys() {
        for key in scan.repeated { add(.apsKeyTwice, "The key `\(key)` stands twice.") }
        for key in scan.misspelt { add(.keyMisspelt, "A key looks like `\(key)`, but is another.") }
        for key in scan.outside where !has(key) {
            add(.apsKeyOutside, "The key `\(key.rawValue)` stands beside `aps`, where it does nothing.")
        }
    }

    // MARK: What the type asks for

    private mutating func checkShape() {
        if let kind = scan.apsKind, kind != .object { return add(.apsNotObject, "`aps` is not an object.") }
        switch shape {
        case .visible: if needsAPS() { checkVisible() }
        case .silent: if needsAPS() { checkSilent() }
        case .liveActivity: if needsAPS() { checkLiveActivity() }
        case .contentChanged: if needsAPS() { checkContentChanged() }
        case .mdm: checkMDM()
        case .fileProvider: checkFileProvider()
        case .free: break
        }
    }

    private mutating func needsAPS() -> Bool {
        if scan.apsKind == nil { add(.apsMissing, "A push of type \(pushType) needs `aps`.") }
        return scan.apsKind != nil
    }

    private mutating func checkVisible() {
        guard !has(.alert), !has(.badge), !has(.sound) else { return }
        add(.alertWithoutContent, "There is no alert, no badge and no sound, so the user will notice nothing.")
    }

    private mutating func checkSilent() {
        if has(.alert) || has(.badge) || has(.sound) {
            add(.backgroundVisible, "A background push has no alert, no badge and no sound.")
        }
        if !has(.contentAvailable) {
            add(.backgroundContentAvailable, "A background push without `content-available` does not wake the app.")
        }
    }

    private mutating func checkContentChanged() {
        guard scan.aps[.contentChanged] != .boolean(true) else { return }
        add(.contentChanged, "A push of type \(pushType) needs `content-changed` to be `true`.")
    }

    private mutating func checkMDM() {
        guard case .string = scan.root["mdm"] else {
            return add(.mdmPayload, "An MDM push needs `mdm` with the device's PushMagic, a string.")
        }
        if scan.apsKind != nil { add(.mdmPayload, "An MDM push has no `aps`.", severity: .warning) }
    }

    private mutating func checkFileProvider() {
        guard case .string = scan.root["container-identifier"] else {
            return add(.fileProviderPayload, "A file provider push needs `container-identifier`, a string.")
        }
    }

    // MARK: Live Activities

    private mutating func checkLiveActivity() {
        if !has(.timestamp) { add(.liveActivityTimestamp, "A Live Activity push needs `timestamp`.") }
        if has(.sound) { add(.liveActivitySound, "A Live Activity looks for its sound inside `alert`.") }
        guard case .string(let name) = scan.aps[.event], let event = LiveActivityContent.Event(rawValue: name) else {
            return add(.liveActivityEvent, "A Live Activity push needs `event`: start, update or end.")
        }
        if !has(.contentState) {
            // The card keeps its last content then.
            let severity: LintFinding.Severity = event == .end ? .warning : .error
            add(.liveActivityContentState, "The event \(event) comes without `content-state`.", severity: severity)
        }
        if has(.dismissalDate), event != .end {
            add(.dismissalWithoutEnd, "`dismissal-date` has no effect with the event \(event).")
        }
        if event == .start { checkStart() } else { checkNoStart(event) }
    }

    private mutating func checkStart() {
        if case .channel = target { add(.broadcastEvent, "What is published to a channel cannot start an activity.") }
        if !has(.attributesType) { add(.liveActivityAttributesType, "The event start needs `attributes-type`.") }
        if !has(.attributes) { add(.liveActivityAttributes, "The event start needs `attributes`.") }
        if !has(.alert) { add(.liveActivityAlert, "The event start needs an alert.") }
        let token = scan.aps[.inputPushToken]
        if token.map({ !$0.isOne }) ?? false { add(.liveActivityInput, "`input-push-token` is not 1.") }
        if token != nil, has(.inputPushChannel) {
            add(.liveActivityInput, "`input-push-token` and `input-push-channel` exclude each other.")
        }
        if case .string(let channel) = scan.aps[.inputPushChannel], ChannelID(channel) == nil {
            add(.liveActivityInput, "`input-push-channel` is not a channel id in base64.")
        }
    }

    private mutating func checkNoStart(_ event: LiveActivityContent.Event) {
        for key in [APSKey.attributesType, .attributes, .inputPushToken, .inputPushChannel] where has(key) {
            add(.liveActivityStartOnly, "`\(key.rawValue)` has no effect with the event \(event).")
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
            // Each has a rule of its own.
            case (.badge, _), (.contentAvailable, _), (.mutableContent, _), (.interruptionLevel, _),
                (.relevanceScore, _), (.contentChanged, _), (.event, _), (.inputPushToken, _), (.pttPushType, _):
                break
            case (.alert, _), (.sound, _): add(.valueType, "`\(key.rawValue)` must be a string or an object.")
            case (.timestamp, _), (.staleDate, _), (.dismissalDate, _):
                add(.valueType, "`\(key.rawValue)` must be a number.")
            case (.contentState, _), (.attributes, _): add(.valueType, "`\(key.rawValue)` must be an object.")
            case (.urlArgs, _): add(.valueType, "`\(key.rawValue)` must be an array.")
            case (.category, _), (.threadID, _), (.targetContentID, _), (.filterCriteria, _), (.attributesType, _),
                (.inputPushChannel, _):
                add(.valueType, "`\(key.rawValue)` must be a string.")
            }
        }
        checkAlertTypes()
    }

    private mutating func checkAlertTypes() {
        for (key, value) in scan.alert.sorted(by: { $0.key < $1.key }) {
            switch (key, value) {
            case ("title", .object), ("subtitle", .object), ("body", .object):
                guard pushType != .liveactivity else { break }
                add(.valueType, "`\(key)` of an alert may be an object in Live Activities only.")
            case ("title-loc-args", .array), ("subtitle-loc-args", .array), ("loc-args", .array),
                ("summary-arg-count", .number):
                break
            case ("title-loc-args", _), ("subtitle-loc-args", _), ("loc-args", _):
                add(.valueType, "`\(key)` must be an array of strings.")
            case ("summary-arg-count", _): add(.valueType, "`\(key)` must be a number.")
            case ("sound", .string), ("sound", .object):
                guard pushType != .liveactivity else { break }
                add(.valueType, "`sound` stands inside `alert` in Live Activities only.")
            case (_, .string): break
            default: add(.valueType, "`\(key)` of an alert must be a string.")
            }
        }
    }

    private mutating func checkValues() {
        switch scan.aps[.badge] {
        case nil: break
        case .number(let badge, isInteger: true) where badge >= 0: break
        default: add(.badge, "`badge` is not a whole number from 0 up.")
        }
        if let flag = scan.aps[.contentAvailable], !flag.isOne {
            add(.contentAvailable, "`content-available` is not the number 1.")
        }
        if let flag = scan.aps[.mutableContent], !flag.isOne {
            add(.mutableContent, "`mutable-content` is not the number 1.")
        }
        if let level = scan.aps[.interruptionLevel], !InterruptionLevel.allCases.contains(where: level.isText) {
            add(.interruptionLevel, "`interruption-level` has a value that no system knows.")
        }
        if let ptt = scan.aps[.pttPushType], !PushToTalkPushType.allCases.contains(where: ptt.isText) {
            add(.pttPushType, "`ptt-push-type` has a value that no system knows.")
        }
        switch scan.aps[.relevanceScore] {
        case nil: break
        case .number(let score, _) where pushType == .liveactivity || (0...1).contains(score): break
        default: add(.relevanceScore, "`relevance-score` is not a number from 0 to 1.")
        }
    }

    private mutating func checkSound() {
        guard scan.aps[.sound] == .object || scan.alert["sound"] == .object else { return }
        if scan.sound["critical"].map({ !$0.isOne }) ?? true {
            add(.criticalSound, "`sound` is an object whose `critical` is not 1.")
        }
        if case .string = scan.sound["name"] {} else { add(.criticalSound, "`sound` is an object without a `name`.") }
        switch scan.sound["volume"] {
        case nil: break
        case .number(let volume, _) where (0...1).contains(volume): break
        default: add(.criticalVolume, "`volume` is not a number from 0 to 1.")
        }
    }

    private mutating func checkTimes() {
        for key in [APSKey.timestamp, .staleDate, .dismissalDate] {
            guard case .number(let time, let isInteger) = scan.aps[key] else { continue }
            if !isInteger { add(.timeFraction, "`\(key.rawValue)` is not written as a whole number.") }
            if time >= Double(HeaderLint.millisecondsMin) {
                add(.timeMilliseconds, "`\(key.rawValue)` looks like milliseconds.")
            }
        }
    }
}

extension PayloadValue {
    fileprivate func isText(_ value: some RawRepresentable<String>) -> Bool { self == .string(value.rawValue) }
}
