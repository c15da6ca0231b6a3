import JSONText

/// Checks the payload of a push.
struct PayloadLint {
    let pushType: PushType
    let target: NotificationLint.Target
    private let shape: PushType.PayloadShape
    private let scan: PayloadScan
    private(set) var report: LintReport

    init(
        _ pushType: PushType, isPass: Bool, target: NotificationLint.Target, scan: PayloadScan, report: LintReport
    ) {
        self.pushType = pushType
        self.target = target
        self.scan = scan
        self.report = report
        shape = isPass ? .free : pushType.payloadShape
    }

    /// A push for a Wallet pass has an empty payload: the device asks the server for changes (Apple, "Updating a Pass").
    static func isPass(_ pushType: PushType, topic: String) -> Bool { pushType == .alert && topic.hasPrefix("pass.") }

    /// - Parameter bytes: the length of the payload.
    mutating func run(bytes: Int) {
        guard bytes > 0 else { return add(.payloadEmpty, "the payload is empty") }
        checkSize(bytes)
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

    private mutating func add(
        _ code: LintCode, _ message: @autoclosure () -> String, severity: LintFinding.Severity? = nil
    ) {
        report.add(code, message(), severity: severity)
    }

    private func has(_ key: APSKey) -> Bool { scan.seen.contains(key.bit) }

    private mutating func checkSize(_ count: Int) {
        let max =
            switch target {
            case .device: pushType.payloadBytesMax
            case .channel: APNSLimits.broadcastPayloadBytesMax
            }
        if count > max { add(.payloadTooLarge, "the payload has \(count) bytes, and \(max) are allowed") }
    }

    private mutating func checkKeys() {
        guard !scan.faults.isEmpty else { return }
        for case .repeated(let key) in scan.faults { add(.apsKeyTwice, "`\(key)` occurs twice") }
        for case .misspelt(let name, let key) in scan.faults {
            add(.keyMisspelt, "`\(name)` resembles `\(key)`, but is spelt differently")
        }
        for case .misplaced(let key) in scan.faults where !has(key) {
            add(.apsKeyOutside, "`\(key.label)` is next to `aps`, where it has no effect")
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
        let pushType = pushType
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
        guard !scan.trues.contains(APSKey.contentChanged.bit) else { return }
        let pushType = pushType
        add(.contentChanged, "`content-changed` is not `true` in a push of type \(pushType)")
    }

    private mutating func checkMDM() {
        guard scan.strings.contains(RootKey.mdm.bit) else {
            return add(.mdmPayload, "`mdm` is missing or not a string in an MDM push")
        }
        if scan.apsKind != nil { add(.mdmPayload, "`aps` is not used in an MDM push", severity: .warning) }
    }

    private mutating func checkFileProvider() {
        guard scan.strings.contains(RootKey.containerIdentifier.bit) else {
            return add(
                .fileProviderPayload, "`container-identifier` is missing or not a string in a file provider push")
        }
    }

    // MARK: Live Activities

    private mutating func checkLiveActivity() {
        if !has(.timestamp) { add(.liveActivityTimestamp, "`timestamp` is missing in a Live Activity push") }
        if has(.sound) { add(.liveActivitySound, "`sound` has no effect outside `alert` in a Live Activity push") }
        guard let event = scan.event else {
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
        if has(.inputPushToken), !scan.ones.contains(APSKey.inputPushToken.bit) {
            add(.liveActivityInput, "`input-push-token` is not 1")
        }
        if has(.inputPushToken), has(.inputPushChannel) {
            add(.liveActivityInput, "`input-push-token` and `input-push-channel` exclude each other")
        }
        if scan.undefined.contains(APSKey.inputPushChannel.bit) {
            add(.liveActivityInput, "`input-push-channel` is not a channel ID in base64")
        }
    }

    private static let keysOfStart: [APSKey] = [.attributesType, .attributes, .inputPushToken, .inputPushChannel]

    private mutating func checkKeysOfStart(absentIn event: LiveActivityContent.Event) {
        for key in Self.keysOfStart where has(key) {
            add(.liveActivityStartOnly, "`\(key.label)` has no effect with the event \(event)")
        }
    }

    // MARK: Values

    private enum Keys {
        static let texts: PayloadKeys = [
            APSKey.category.bit, APSKey.threadID.bit, APSKey.targetContentID.bit, APSKey.filterCriteria.bit,
            APSKey.attributesType.bit, APSKey.inputPushChannel.bit,
        ]
        static let textsOrObjects: PayloadKeys = [APSKey.alert.bit, APSKey.sound.bit]
        static let times: PayloadKeys = [APSKey.timestamp.bit, APSKey.staleDate.bit, APSKey.dismissalDate.bit]
        static let objects: PayloadKeys = [APSKey.contentState.bit, APSKey.attributes.bit]
        static let arrays: PayloadKeys = [APSKey.urlArgs.bit]
        static let alert = PayloadKeys(AlertKey.allCases.map(\.bit))
        static let alertArrays: PayloadKeys = [
            AlertKey.titleLocArgs.bit, AlertKey.subtitleLocArgs.bit, AlertKey.locArgs.bit,
        ]
        static let alertNumbers: PayloadKeys = [AlertKey.summaryArgCount.bit]
        /// Keys of `alert` that may be objects in Live Activities, where the sound is inside `alert`.
        static let activityObjects: PayloadKeys = [
            AlertKey.title.bit, AlertKey.subtitle.bit, AlertKey.body.bit, AlertKey.sound.bit,
        ]
        static let flags: PayloadKeys = [APSKey.contentAvailable.bit, APSKey.mutableContent.bit]
        static let named: PayloadKeys = [APSKey.interruptionLevel.bit, APSKey.pttPushType.bit]
    }

    private mutating func checkTypes() {
        let isRight = scan.strings.intersection(Keys.texts.union(Keys.textsOrObjects))
            .union(scan.objects.intersection(Keys.objects.union(Keys.textsOrObjects)))
            .union(scan.numbers.intersection(Keys.times))
            .union(scan.arrays.intersection(Keys.arrays))
        let typed = Keys.texts.union(Keys.textsOrObjects).union(Keys.times).union(Keys.objects).union(Keys.arrays)
        let wrong = scan.seen.intersection(typed).subtracting(isRight)
        if !wrong.isEmpty {
            for key in APSKey.allCases where wrong.contains(key.bit) {
                add(.valueType, "`\(key.label)` is \(Self.expectation(key.bit))")
            }
        }
        if scan.objects.contains(APSKey.alert.bit) { checkAlertTypes() }
    }

    private static func expectation(_ key: PayloadKeys) -> String {
        if Keys.textsOrObjects.contains(key) { return "neither a string nor an object" }
        if Keys.times.contains(key) { return "not a number" }
        if Keys.objects.contains(key) { return "not an object" }
        return Keys.arrays.contains(key) ? "not an array" : "not a string"
    }

    private mutating func checkAlertTypes() {
        let isActivity = pushType == .liveactivity
        let texts = Keys.alert.subtracting(Keys.alertArrays).subtracting(Keys.alertNumbers)
            .subtracting(isActivity ? [] : AlertKey.sound.bit)
        let isRight = scan.strings.intersection(texts)
            .union(scan.arrays.intersection(Keys.alertArrays))
            .union(scan.numbers.intersection(Keys.alertNumbers))
            .union(isActivity ? scan.objects.intersection(Keys.activityObjects) : [])
        let wrong = scan.seen.intersection(Keys.alert).subtracting(isRight)
        guard !wrong.isEmpty else { return }
        for key in AlertKey.allCases where wrong.contains(key.bit) {
            let isObject = scan.objects.contains(key.bit)
            if key == .sound, isObject || scan.strings.contains(key.bit) {
                add(.valueType, "`sound` is inside `alert`, which is for Live Activities only")
            } else if isObject, Keys.activityObjects.contains(key.bit) {
                add(.valueType, "`\(key.label)` of `alert` is an object, which is for Live Activities only")
            } else if Keys.alertArrays.contains(key.bit) {
                add(.valueType, "`\(key.label)` of `alert` is not an array")
            } else if Keys.alertNumbers.contains(key.bit) {
                add(.valueType, "`\(key.label)` of `alert` is not a number")
            } else {
                add(.valueType, "`\(key.label)` of `alert` is not a string")
            }
        }
    }

    private mutating func checkValues() {
        if has(.badge), !scan.integers.subtracting(scan.negatives).contains(APSKey.badge.bit) {
            add(.badge, "`badge` is not a whole number of at least 0")
        }
        let flags = scan.seen.intersection(Keys.flags).subtracting(scan.ones)
        if flags.contains(APSKey.contentAvailable.bit) {
            add(.contentAvailable, "`content-available` is not the number 1")
        }
        if flags.contains(APSKey.mutableContent.bit) { add(.mutableContent, "`mutable-content` is not the number 1") }
        let named = scan.seen.intersection(Keys.named).subtracting(scan.strings.subtracting(scan.undefined))
        if named.contains(APSKey.interruptionLevel.bit) {
            add(.interruptionLevel, "`interruption-level` has an undefined value")
        }
        if named.contains(APSKey.pttPushType.bit) { add(.pttPushType, "`ptt-push-type` has an undefined value") }
        let scores = pushType == .liveactivity ? scan.numbers : scan.units
        if has(.relevanceScore), !scores.contains(APSKey.relevanceScore.bit) {
            add(.relevanceScore, "`relevance-score` is not a number from 0 to 1")
        }
    }

    private mutating func checkSound() {
        guard scan.objects.contains(APSKey.sound.bit) || scan.objects.contains(AlertKey.sound.bit) else { return }
        if !scan.ones.contains(SoundKey.critical.bit) { add(.criticalSound, "`critical` of `sound` is not 1") }
        if !scan.strings.contains(SoundKey.name.bit) {
            add(.criticalSound, "`name` of `sound` is missing or not a string")
        }
        if scan.seen.subtracting(scan.units).contains(SoundKey.volume.bit) {
            add(.criticalVolume, "`volume` of `sound` is not a number from 0 to 1")
        }
    }

    private mutating func checkTimes() {
        let times = scan.numbers.intersection(Keys.times)
        guard !times.isEmpty, !times.subtracting(scan.integers).union(scan.milliseconds).isEmpty else { return }
        for key in [APSKey.timestamp, .staleDate, .dismissalDate] where times.contains(key.bit) {
            if !scan.integers.contains(key.bit) {
                add(.timeFraction, "`\(key.label)` is not written as a whole number")
            }
            if scan.milliseconds.contains(key.bit) {
                add(.timeMilliseconds, "`\(key.label)` looks like milliseconds")
            }
        }
    }
}
