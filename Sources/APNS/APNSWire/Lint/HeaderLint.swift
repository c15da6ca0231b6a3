/// Checks the header fields, the device token and the credential of a push.
struct HeaderLint {
    struct Headers {
        var pushType: PushType
        /// nil: the bundle ID of the app with the suffix of the type, so that the rules of topics hold.
        var topic: String?
        var priority: Priority?
        var collapseID: String?
    }

    let headers: Headers
    let expiration: Int64?
    let now: Int64
    let target: NotificationLint.Target
    let authentication: NotificationLint.Authentication?
    let bundleID: String?
    private(set) var report: LintReport

    /// The longest useful lifetime of a push for a call, in seconds.
    private static let callSecondsMax: Int64 = 60
    /// Values from here on are taken for milliseconds: as seconds this is the year 5138, as milliseconds 1973.
    static let millisecondsMin: Int64 = 100_000_000_000

    init(
        headers: Headers, expiration: Int64?, now: Int64, target: NotificationLint.Target,
        authentication: NotificationLint.Authentication?, bundleID: String?, report: LintReport
    ) {
        self.headers = headers
        self.expiration = expiration
        self.now = now
        self.target = target
        self.authentication = authentication
        self.bundleID = bundleID
        self.report = report
    }

    private var type: PushType { headers.pushType }

    mutating func run() {
        checkTarget()
        if let topic = headers.topic ?? (type == .mdm ? bundleID : nil) { checkTopic(topic) }
        checkPriority()
        checkExpiration()
        checkCredential()
        checkCollapseID()
    }

    private mutating func add(
        _ code: LintCode, _ message: @autoclosure () -> String, severity: LintFinding.Severity? = nil
    ) {
        report.add(code, message(), severity: severity)
    }

    // MARK: Target and topic

    private mutating func checkTarget() {
        let type = type
        switch target {
        case .device(let tokenBytes?) where !(1...APNSLimits.deviceTokenBytesMax).contains(tokenBytes):
            add(.tokenLength, "the device token has \(tokenBytes) bytes")
        case .channel where type != .liveactivity:
            add(.broadcastPushType, "`apns-push-type` is \(type), which cannot be published to a channel")
        case .device, .channel: break
        }
    }

    private mutating func checkTopic(_ topic: String) {
        guard !topic.isEmpty else { return add(.topicEmpty, "`apns-topic` is empty") }
        guard topic.utf8.allSatisfy(Self.isTopicByte) else {
            return add(.topicCharacters, "`apns-topic` has characters that no topic has")
        }
        if case .channel = target { return checkBroadcastTopic(topic) }
        if type == .mdm, !topic.hasPrefix("com.apple.mgmt") {
            add(.topicMDM, "`apns-topic` of an MDM push does not begin with com.apple.mgmt")
        } else if let bundleID, type != .mdm {
            checkTopic(topic, of: bundleID)
        } else {
            checkTopicSuffix(topic)
        }
    }

    private mutating func checkBroadcastTopic(_ topic: String) {
        let suffix = PushType.liveactivity.topicSuffix
        if topic.hasSuffix(suffix) {
            add(.topicSuffixWrong, "the bundle ID of the broadcast path ends in \(suffix)")
        } else if let bundleID, topic != bundleID {
            add(.topicBundle, "the bundle ID of the broadcast path is not that of the app")
        }
    }

    private mutating func checkTopic(_ topic: String, of bundleID: String) {
        let type = type
        let suffix = type.topicSuffix
        if topic == bundleID + suffix { return }
        if topic == bundleID {
            add(.topicSuffixMissing, "`apns-topic` of a push of type \(type) lacks the suffix \(suffix)")
        } else if !suffix.isEmpty, topic == bundleID + suffix + suffix {
            add(.topicSuffixDoubled, "`apns-topic` has the suffix \(suffix) twice")
        } else if let other = Self.suffixes.first(where: { topic == bundleID + $0 }) {
            add(.topicSuffixWrong, "`apns-topic` ends in \(other), which does not belong to the type \(type)")
        } else {
            add(.topicBundle, "`apns-topic` is not that of the app")
        }
    }

    /// Checks the suffix without a known bundle ID. A bundle ID may itself end like a suffix, hence the warnings.
    private mutating func checkTopicSuffix(_ topic: String) {
        let type = type
        let suffix = type.topicSuffix
        if suffix.isEmpty {
            guard let other = Self.suffixes.first(where: topic.hasSuffix) else { return }
            let message = "`apns-topic` ends in \(other), which does not belong to the type \(type)"
            add(.topicSuffixWrong, message, severity: .warning)
        } else if topic.hasSuffix(suffix + suffix) {
            add(.topicSuffixDoubled, "`apns-topic` has the suffix \(suffix) twice", severity: .warning)
        } else if let other = Self.suffixes.first(where: topic.hasSuffix), other != suffix {
            add(.topicSuffixWrong, "`apns-topic` ends in \(other), which does not belong to the type \(type)")
        } else if !topic.hasSuffix(suffix) {
            add(.topicSuffixMissing, "`apns-topic` of a push of type \(type) lacks the suffix \(suffix)")
        }
    }

    /// Whether `topic` is the bundle ID, or the bundle ID with one or two suffixes.
    static func isTopic(_ topic: String, of bundleID: String) -> Bool {
        guard topic.hasPrefix(bundleID) else { return false }
        let rest = topic.dropFirst(bundleID.count)
        return rest.isEmpty || suffixes.contains { rest == $0 || rest == $0 + $0 }
    }

    /// No suffix ends in another one, so the order does not matter.
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
        let type = type
        guard let priority = headers.priority else {
            if case .channel = target {
                add(.priorityMissing, "`apns-priority` is missing, and broadcasts have no default")
            } else if type.refuses(.immediate) {
                add(.priorityMissing, "`apns-priority` is missing, and APNs refuses its default 10 for \(type)")
            }
            return
        }
        if type.refuses(priority) {
            add(.priorityRefused, "`apns-priority` is \(priority.rawValue), which APNs refuses for the type \(type)")
        } else if !type.priorities.contains(priority) {
            add(.priorityUnusual, "`apns-priority` is \(priority.rawValue), which has no benefit for the type \(type)")
        }
    }

    private mutating func checkExpiration() {
        if let expiration, expiration != 0 { checkTime(expiration) }
        if case .channel(let policy) = target { return checkChannelExpiration(policy) }
        switch type {
        case .voip where expiration.map { $0 > now + Self.callSecondsMax } ?? true:
            add(.voipExpiration, "`apns-expiration` lets APNs store the call for a device that is offline")
        case .pushtotalk where expiration != 0:
            add(.pushToTalkExpiration, "`apns-expiration` lets APNs store the push for a device that is offline")
        default: break
        }
    }

    private mutating func checkTime(_ expiration: Int64) {
        if expiration < 0 {
            add(.expirationNegative, "`apns-expiration` is negative")
        } else if expiration >= Self.millisecondsMin {
            add(.expirationMilliseconds, "`apns-expiration` looks like milliseconds")
        } else if expiration <= now {
            add(.expirationPast, "`apns-expiration` is in the past, so a device that is offline never gets the push")
        } else if expiration - now > APNSLimits.storageSecondsMax {
            add(.expirationFar, "`apns-expiration` is more than 30 days ahead, the longest that APNs stores a push")
        }
    }

    private mutating func checkChannelExpiration(_ policy: ChannelStoragePolicy?) {
        guard let expiration, let policy else { return }
        if policy == .none, expiration != 0 {
            add(.channelExpiration, "`apns-expiration` is not 0, and the channel stores no messages")
        } else if expiration > now + APNSLimits.channelStorageSecondsMax {
            add(
                .channelExpirationFar,
                "`apns-expiration` is more than 8 hours ahead, the longest that a channel stores a message")
        }
    }

    // MARK: Credential and collapse ID

    private mutating func checkCredential() {
        guard let authentication, case .device = target else { return }
        let type = type
        switch (type.authenticationRule, authentication) {
        case (.providerToken, .certificate):
            // Apple's page on file providers requires a token. The answer to a certificate is not known.
            let severity: LintFinding.Severity = type == .fileprovider ? .warning : .error
            let message = "the credential is a certificate, and the type \(type) needs a provider token"
            add(.credential, message, severity: severity)
        case (.certificate, .providerToken):
            add(.credential, "the credential is a provider token, and the type \(type) needs a certificate")
        case (.any, _), (.providerToken, .providerToken), (.certificate, .certificate): break
        }
    }

    private mutating func checkCollapseID() {
        guard let id = headers.collapseID else { return }
        guard !id.isEmpty else { return add(.collapseIDEmpty, "`apns-collapse-id` is empty") }
        let count = id.utf8.count
        if count > APNSLimits.collapseIDBytesMax { add(.collapseIDLong, "`apns-collapse-id` has \(count) bytes") }
        if id.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            add(.collapseIDCharacters, "`apns-collapse-id` has control characters")
        } else if id.utf8.contains(where: { $0 > 0x7F }) || id.hasPrefix(" ") || id.hasSuffix(" ") {
            let message = "`apns-collapse-id` has characters that a header field may not preserve"
            add(.collapseIDCharacters, message, severity: .warning)
        }
    }
}
