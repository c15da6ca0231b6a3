/// The rules on everything but the body.
struct HeaderLint {
    let headers: NotificationHeaders
    let expiration: Int64?
    let now: Int64
    let target: NotificationLint.Target
    let authentication: NotificationLint.Authentication?
    let bundleID: String?
    private(set) var findings: [LintFinding] = []

    /// A call is over after a minute.
    private static let callSecondsMax: Int64 = 60
    /// In seconds this is the year 5138, in milliseconds 1973.
    static let millisecondsMin: Int64 = 100_000_000_000

    init(
        headers: NotificationHeaders, expiration: Int64?, now: Int64, target: NotificationLint.Target,
        authentication: NotificationLint.Authentication?, bundleID: String?
    ) {
        self.headers = headers
        self.expiration = expiration
        self.now = now
        self.target = target
        self.authentication = authentication
        self.bundleID = bundleID
    }

    private var type: PushType { headers.pushType }

    mutating func run() {
        checkTarget()
        checkTopic()
        checkPriority()
        checkExpiration()
        checkCredential()
        checkCollapseID()
    }

    private mutating func add(_ code: LintCode, _ message: String, severity: LintFinding.Severity? = nil) {
        findings.append(LintFinding(code, message, severity: severity))
    }

    // MARK: Target and topic

    private mutating func checkTarget() {
        switch target {
        case .device(let tokenBytes?) where !(1...APNSLimits.deviceTokenBytesMax).contains(tokenBytes):
            add(.tokenLength, "The device token has \(tokenBytes) bytes.")
        case .channel where type != .liveactivity:
            add(.broadcastPushType, "A push of type \(type) cannot be published to a channel.")
        case .device, .channel: break
        }
    }

    private mutating func checkTopic() {
        let topic = headers.topic
        guard !topic.isEmpty else { return add(.topicEmpty, "The topic is empty.") }
        guard topic.utf8.allSatisfy(Self.isTopicByte) else {
            return add(.topicCharacters, "The topic has characters that no topic has.")
        }
        if case .channel = target { return checkBroadcastTopic() }
        if type == .mdm, !topic.hasPrefix("com.apple.mgmt") {
            add(.topicMDM, "The topic of an MDM push does not begin with com.apple.mgmt.")
        } else if let bundleID, type != .mdm {
            checkTopic(of: bundleID)
        } else {
            guessTopic()
        }
    }

    private mutating func checkBroadcastTopic() {
        let suffix = PushType.liveactivity.topicSuffix
        if headers.topic.hasSuffix(suffix) {
            add(.topicSuffixWrong, "A channel is named by the bundle ID alone, and this one ends in \(suffix).")
        } else if let bundleID, headers.topic != bundleID {
            add(.topicBundle, "The bundle ID is not that of the app.")
        }
    }

    private mutating func checkTopic(of bundleID: String) {
        let topic = headers.topic
        let suffix = type.topicSuffix
        if topic == bundleID + suffix { return }
        if topic == bundleID {
            add(.topicSuffixMissing, "The topic of a push of type \(type) must end in \(suffix).")
        } else if !suffix.isEmpty, topic == bundleID + suffix + suffix {
            add(.topicSuffixDoubled, "The topic has the suffix \(suffix) twice.")
        } else if let other = Self.suffixes.first(where: { topic == bundleID + $0 }) {
            add(.topicSuffixWrong, "The topic ends in \(other), which is not for the type \(type).")
        } else {
            add(.topicBundle, "The topic is not that of the app.")
        }
    }

    /// Without the bundle ID: what can be told from the end of the topic.
    private mutating func guessTopic() {
        let topic = headers.topic
        let suffix = type.topicSuffix
        if suffix.isEmpty {
            guard let other = Self.suffixes.first(where: topic.hasSuffix) else { return }
            let message = "The topic ends in \(other), which is not for the type \(type)."
            add(.topicSuffixWrong, message, severity: .warning)
        } else if topic.hasSuffix(suffix + suffix) {
            add(.topicSuffixDoubled, "The topic has the suffix \(suffix) twice.", severity: .warning)
        } else if let other = Self.suffixes.first(where: topic.hasSuffix), other != suffix {
            add(.topicSuffixWrong, "The topic ends in \(other), which is not for the type \(type).")
        } else if !topic.hasSuffix(suffix) {
            add(.topicSuffixMissing, "The topic of a push of type \(type) must end in \(suffix).")
        }
    }

    /// No one of them is the end of another, so the order does not matter.
    private static let suffixes = PushType.allCases.map(\.topicSuffix).filter { !$0.isEmpty }

    private static func isTopicByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    // MARK: Priority and expiration

    private mutating func checkPriority() {
        guard let priority = headers.priority else {
            if case .channel = target {
                add(.priorityMissing, "There is no priority, and no default for what is published to a channel.")
            } else if type.refuses(.immediate) {
                add(.priorityMissing, "There is no priority, and APNs takes 10, which is an error for \(type).")
            }
            return
        }
        if type.refuses(priority) {
            add(.priorityRefused, "Priority \(priority.rawValue) is an error for the type \(type).")
        } else if !type.priorities.contains(priority) {
            add(.priorityUnusual, "Priority \(priority.rawValue) is unusual for the type \(type).")
        }
    }

    private mutating func checkExpiration() {
        if let expiration, expiration != 0 { checkTime(expiration) }
        if case .channel(let policy) = target { return checkChannelExpiration(policy) }
        switch type {
        case .voip where expiration.map { $0 > now + Self.callSecondsMax } ?? true:
            add(.voipExpiration, "APNs would keep the call for a device that is offline.")
        case .pushtotalk where expiration != 0:
            add(.pushToTalkExpiration, "APNs would keep the push for a device that is offline.")
        default: break
        }
    }

    private mutating func checkTime(_ expiration: Int64) {
        if expiration < 0 {
            add(.expirationNegative, "The expiration is negative.")
        } else if expiration >= Self.millisecondsMin {
            add(.expirationMilliseconds, "The expiration looks like milliseconds.")
        } else if expiration <= now {
            add(.expirationPast, "The expiration is in the past: a device that is offline will never get it.")
        } else if expiration - now > APNSLimits.storageSecondsMax {
            add(.expirationFar, "The expiration is more than 30 days ahead, and APNs keeps nothing for longer.")
        }
    }

    private mutating func checkChannelExpiration(_ policy: ChannelStoragePolicy?) {
        guard let expiration, let policy else { return }
        if policy == .none, expiration != 0 {
            add(.channelExpiration, "The channel stores nothing, so the expiration must be 0.")
        } else if expiration > now + APNSLimits.channelStorageSecondsMax {
            add(
                .channelExpirationFar,
                "The expiration is more than 8 hours ahead, and a channel keeps nothing for longer.")
        }
    }

    // MARK: Credential and collapse id

    private mutating func checkCredential() {
        guard let authentication, case .device = target else { return }
        switch (type.authenticationRule, authentication) {
        case (.providerToken, .certificate):
            // Apple's page on file providers asks for a token; nobody has reported what a certificate gets.
            let severity: LintFinding.Severity = type == .fileprovider ? .warning : .error
            let message = "A push of type \(type) needs a provider token, and this is a certificate."
            add(.credential, message, severity: severity)
        case (.certificate, .providerToken):
            add(.credential, "A push of type \(type) needs a certificate, and this is a provider token.")
        case (.any, _), (.providerToken, .providerToken), (.certificate, .certificate): break
        }
    }

    private mutating func checkCollapseID() {
        guard let id = headers.collapseID else { return }
        guard !id.isEmpty else { return add(.collapseIDEmpty, "The collapse id is empty.") }
        let count = id.utf8.count
        if count > APNSLimits.collapseIDBytesMax { add(.collapseIDLong, "The collapse id has \(count) bytes.") }
        if id.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            add(.collapseIDCharacters, "The collapse id has control characters.")
        } else if id.utf8.contains(where: { $0 > 0x7F }) || id.hasPrefix(" ") || id.hasSuffix(" ") {
            let message = "The collapse id has characters that a header field does not carry safely."
            add(.collapseIDCharacters, message, severity: .warning)
        }
    }
}
