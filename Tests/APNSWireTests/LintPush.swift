import APNSWire

/// The inputs of the lint, with defaults that give no findings.
struct LintPush: Sendable {
    var type: PushType
    var topic: String
    var priority: Priority?
    var collapseID: String?
    var expiration: Int64?
    var payload: [UInt8]
    var target = NotificationLint.Target.device(tokenBytes: 32)
    var authentication: NotificationLint.Authentication?
    var bundleID: String?

    static let now: Int64 = 1_700_000_000

    init(_ type: PushType, _ payload: String? = nil, _ change: (inout LintPush) -> Void = { _ in }) {
        self.type = type
        topic = type == .mdm ? "com.apple.mgmt.External.1" : type.topic(for: "com.example.app")
        priority = type.defaultPriority
        expiration = type == .voip || type == .pushtotalk ? 0 : nil
        self.payload = Array((payload ?? Self.sample(type)).utf8)
        change(&self)
    }

    /// A Live Activity push to a channel.
    static func channel(
        _ policy: ChannelStoragePolicy? = nil, _ payload: String? = nil, _ change: (inout LintPush) -> Void = { _ in }
    ) -> LintPush {
        LintPush(.liveactivity, payload) { push in
            push.topic = "com.example.app"
            push.target = .channel(policy)
            push.expiration = 0
            change(&push)
        }
    }

    /// The documented example of each type.
    static func sample(_ type: PushType) -> String {
        switch type {
        case .alert: #"{"aps":{"alert":{"title":"Tea","body":"Ready"},"badge":1,"sound":"default"},"cup":7}"#
        case .background: #"{"aps":{"content-available":1},"acme1":"bar"}"#
        case .voip: #"{"aps":{},"caller":"Ann"}"#
        case .complication: #"{"aps":{},"steps":7}"#
        case .fileprovider: #"{"container-identifier":"NSFileProviderRootContainerItemIdentifier","domain":"d"}"#
        case .mdm: #"{"mdm":"D9E2F5A1-PUSHMAGIC"}"#
        case .location: #"{"aps":{}}"#
        case .liveactivity: #"{"aps":{"timestamp":1700000000,"event":"update","content-state":{"score":1}}}"#
        case .pushtotalk: #"{"aps":{},"activeSpeaker":"Ann"}"#
        case .controls, .widgets: #"{"aps":{"content-changed":true}}"#
        }
    }

    static let start = """
        {"aps":{"timestamp":1700000000,"event":"start","content-state":{"score":1},"attributes-type":"Match",\
        "attributes":{"home":"A"},"alert":{"title":{"loc-key":"T","loc-args":["A"]},"body":"Go","sound":"bell.caf"}}}
        """

    var findings: [LintFinding] {
        payload.withUnsafeBytes { bytes in
            NotificationLint.findings(
                headers: NotificationHeaders(topic: topic, pushType: type, priority: priority, collapseID: collapseID),
                expiration: expiration, payload: bytes, now: UNIXTime(secondsSince1970: Self.now), target: target,
                authentication: authentication,
                bundleID: bundleID
            )
        }
    }
}
