import APNSWire

/// A push that violates exactly one rule, and a similar push that violates none.
struct LintCase: Sendable {
    var code: LintCode
    var severity: LintFinding.Severity
    var bad: LintPush
    var good: LintPush

    init(_ code: LintCode, _ severity: LintFinding.Severity, _ bad: LintPush, _ good: LintPush) {
        self.code = code
        self.severity = severity
        self.bad = bad
        self.good = good
    }
}

extension LintCase {
    static let all = headers + times + bodies + activities + values

    private static func topic(_ type: PushType, _ topic: String, bundleID: String? = nil) -> LintPush {
        LintPush(type) { push in
            push.topic = topic
            push.bundleID = bundleID
        }
    }

    private static func credential(_ type: PushType, _ kind: NotificationLint.Authentication) -> LintPush {
        LintPush(type) { $0.authentication = kind }
    }

    private static func collapse(_ id: String) -> LintPush { LintPush(.alert) { $0.collapseID = id } }

    private static func priority(_ type: PushType, _ priority: Priority?) -> LintPush {
        LintPush(type) { $0.priority = priority }
    }

    private static func expiring(_ type: PushType, _ expiration: Int64?) -> LintPush {
        LintPush(type) { $0.expiration = expiration }
    }

    static func alert(_ json: String) -> LintPush { LintPush(.alert, json) }

    /// An alert with additional members in its `aps`.
    static func aps(_ members: String) -> LintPush {
        LintPush(.alert, "{\"aps\":{\"alert\":\"x\",\(members)}}")
    }

    private static let name = "com.example.app"

    static let headers = [
        LintCase(.topicEmpty, .error, topic(.alert, ""), topic(.alert, "a")),
        LintCase(.topicCharacters, .error, topic(.alert, "com.example.app\n"), topic(.alert, "com.Example_1.a-b")),
        LintCase(.topicCharacters, .error, topic(.alert, "com.exämple"), topic(.alert, name)),
        LintCase(.topicSuffixMissing, .error, topic(.voip, name), topic(.voip, name + ".voip")),
        LintCase(
            .topicSuffixMissing, .error, topic(.widgets, name, bundleID: name),
            topic(.widgets, name + ".push-type.widgets", bundleID: name)
        ),
        // A bundle ID that ends like a suffix: the missing suffix is detected only if the bundle ID is known.
        LintCase(
            .topicSuffixMissing, .error, topic(.voip, "a.voip", bundleID: "a.voip"),
            topic(.voip, "a.voip.voip", bundleID: "a.voip")
        ),
        LintCase(.topicSuffixWrong, .warning, topic(.alert, "a.voip"), topic(.alert, "a.voip", bundleID: "a.voip")),
        LintCase(
            .topicSuffixWrong, .error, topic(.alert, "a.voip", bundleID: "a"), topic(.alert, "a", bundleID: "a")),
        LintCase(.topicSuffixWrong, .error, topic(.voip, "a.voip-ptt"), topic(.pushtotalk, "a.voip-ptt")),
        LintCase(
            .topicSuffixWrong, .error, .channel { $0.topic = "com.example.app.push-type.liveactivity" }, .channel()),
        LintCase(.topicSuffixDoubled, .warning, topic(.voip, "a.voip.voip"), topic(.voip, "a.voip")),
        LintCase(
            .topicSuffixDoubled, .error, topic(.voip, "a.voip.voip", bundleID: "a"),
            topic(.voip, "a.voip", bundleID: "a")),
        LintCase(.topicBundle, .error, topic(.alert, "a.c", bundleID: "a.b"), topic(.alert, "a.b", bundleID: "a.b")),
        LintCase(
            .topicBundle, .error, .channel { $0.bundleID = "a.b" }, .channel { $0.bundleID = "com.example.app" }),
        LintCase(.topicMDM, .warning, topic(.mdm, name), topic(.mdm, "com.apple.mgmt.XServer.1", bundleID: name)),
        LintCase(.priorityRefused, .error, priority(.background, .immediate), priority(.background, .conserving)),
        LintCase(.priorityUnusual, .warning, priority(.liveactivity, .low), priority(.liveactivity, .conserving)),
        LintCase(.priorityUnusual, .warning, priority(.pushtotalk, .conserving), priority(.pushtotalk, nil)),
        LintCase(.priorityMissing, .warning, priority(.background, nil), priority(.alert, nil)),
        LintCase(.priorityMissing, .warning, .channel { $0.priority = nil }, .channel { $0.priority = .conserving }),
        LintCase(.credential, .error, credential(.location, .certificate), credential(.location, .providerToken)),
        LintCase(
            .credential, .error, credential(.liveactivity, .certificate), .channel { $0.authentication = .certificate }),
        LintCase(.credential, .error, credential(.mdm, .providerToken), credential(.mdm, .certificate)),
        LintCase(.credential, .warning, credential(.fileprovider, .certificate), credential(.alert, .certificate)),
        LintCase(
            .collapseIDLong, .error, collapse(String(repeating: "x", count: 65)),
            collapse(String(repeating: "x", count: 64))
        ),
        LintCase(.collapseIDEmpty, .warning, collapse(""), collapse("a b")),
        LintCase(.collapseIDCharacters, .error, collapse("a\tb"), collapse("a:b/c")),
        LintCase(.collapseIDCharacters, .warning, collapse("é"), collapse("e")),
        LintCase(.collapseIDCharacters, .warning, collapse(" e"), collapse("e")),
        LintCase(
            .tokenLength, .error, LintPush(.alert) { $0.target = .device(tokenBytes: 0) },
            LintPush(.alert) { $0.target = .device(tokenBytes: 255) }
        ),
        LintCase(
            .tokenLength, .error, LintPush(.alert) { $0.target = .device(tokenBytes: 256) },
            LintPush(.alert) { $0.target = .device(tokenBytes: nil) }
        ),
        LintCase(
            .broadcastPushType, .error,
            LintPush(.widgets) { push in
                push.target = .channel(nil)
                push.topic = name
            }, .channel()
        ),
    ]

    static let times = [
        LintCase(.expirationNegative, .error, expiring(.alert, -5), expiring(.alert, 0)),
        LintCase(.expirationPast, .warning, expiring(.alert, 300), expiring(.alert, LintPush.now + 1)),
        LintCase(.expirationPast, .warning, expiring(.alert, LintPush.now), expiring(.alert, nil)),
        LintCase(
            .expirationMilliseconds, .warning, expiring(.alert, LintPush.now * 1000),
            expiring(.alert, LintPush.now + 2_592_000)
        ),
        LintCase(
            .expirationFar, .warning, expiring(.alert, LintPush.now + 2_592_001),
            expiring(.alert, LintPush.now + 86_400)
        ),
        LintCase(.voipExpiration, .warning, expiring(.voip, nil), expiring(.voip, 0)),
        LintCase(
            .voipExpiration, .warning, expiring(.voip, LintPush.now + 61), expiring(.voip, LintPush.now + 60)),
        LintCase(.pushToTalkExpiration, .warning, expiring(.pushtotalk, nil), expiring(.pushtotalk, 0)),
        LintCase(
            .pushToTalkExpiration, .warning, expiring(.pushtotalk, LintPush.now + 5), expiring(.pushtotalk, 0)),
        LintCase(
            .channelExpiration, .error, .channel(ChannelStoragePolicy.none) { $0.expiration = LintPush.now + 60 },
            .channel(.newest) { $0.expiration = LintPush.now + 60 }
        ),
        LintCase(
            .channelExpirationFar, .warning, .channel(.newest) { $0.expiration = LintPush.now + 28_801 },
            .channel(.newest) { $0.expiration = LintPush.now + 28_800 }
        ),
    ]
}
