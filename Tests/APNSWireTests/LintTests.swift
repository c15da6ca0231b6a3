import APNSWire
import Foundation
import JSONText
import Testing

@Suite struct `Lint` {
    @Test(arguments: LintCase.all.indices)
    func `each rule reports its violation and no other finding`(index: Int) {
        let example = LintCase.all[index]
        let findings = example.bad.findings
        #expect(findings.map(\.code) == [example.code], "\(findings)")
        #expect(findings.first?.severity == example.severity)
        #expect(example.good.findings == [], "\(example.code)")
    }

    /// With `GODWIT_UPDATE_DOCS=1` it writes the page before it compares.
    @Test func `lint-rules.md matches the rules`() throws {
        let file = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("docs/reference/lint-rules.md")
        if ProcessInfo.processInfo.environment["GODWIT_UPDATE_DOCS"] != nil {
            try Data(LintPage.markdown.utf8).write(to: file)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == LintPage.markdown)
    }

    @Test func `there is an example for every rule`() {
        #expect(Set(LintCase.all.map(\.code)) == Set(LintCode.allCases))
    }

    @Test(arguments: PushType.allCases)
    func `the documented example of each type is clean`(type: PushType) {
        let kinds: [NotificationLint.Authentication] =
            switch type.authenticationRule {
            case .any: [.providerToken, .certificate]
            case .providerToken: [.providerToken]
            case .certificate: [.certificate]
            }
        for kind in kinds {
            let push = LintPush(type) { push in
                push.authentication = kind
                push.bundleID = "com.example.app"
            }
            #expect(push.findings == [])
        }
    }

    @Test func `pushes made by the payload builders are clean`() throws {
        let token = try #require(DeviceToken(bytes: Array(repeating: 1, count: 80)))
        func push(_ type: PushType, _ payload: APNSPayload) throws -> APNSNotification {
            try APNSNotification(
                deviceToken: token, bundleID: type == .mdm ? "com.apple.mgmt.x" : "a.b", pushType: type,
                payload: payload, expiration: type == .voip || type == .pushtotalk ? .immediate : .none
            )
        }
        var alert = APNSPayload(
            alert: Alert(title: .localized("T", args: ["x"]), body: "y"), sound: .critical(volume: 0.5), badge: 3)
        alert.aps.interruptionLevel = .critical
        alert.aps.relevanceScore = 0.5
        alert.aps.threadID = "t"
        alert.aps.isMutableContent = true
        try alert.merge(["cup": 7])
        let start = LiveActivityContent.start(
            attributesType: "M", attributes: .empty, contentState: .empty,
            timestamp: UNIXTime(secondsSince1970: LintPush.now), updateInput: .token)
        let pushes = [
            try push(.alert, alert), try push(.background, .background()), try push(.voip, APNSPayload()),
            try push(.complication, APNSPayload()),
            try push(.fileprovider, .fileProvider(containerIdentifier: "c", domain: "d")),
            try push(.mdm, .mdm(pushMagic: "m")), try push(.location, APNSPayload()),
            try push(.liveactivity, .liveActivity(start, alert: Alert(title: .localized("T"), body: "y"), sound: "s")),
            try push(
                .liveactivity,
                .liveActivity(
                    .update(
                        contentState: .empty, timestamp: UNIXTime(secondsSince1970: 1),
                        staleDate: UNIXTime(secondsSince1970: 2)))),
            try push(
                .liveactivity,
                .liveActivity(
                    .end(
                        contentState: .empty, timestamp: UNIXTime(secondsSince1970: 1),
                        dismissalDate: UNIXTime(secondsSince1970: 2)))),
            try push(.pushtotalk, .pushToTalkServiceUpdate()), try push(.controls, .controlsChanged),
            try push(.widgets, .widgetsChanged),
        ]
        for push in pushes {
            #expect(
                NotificationLint.findings(push, now: UNIXTime(secondsSince1970: LintPush.now)) == [],
                "\(push.headers.pushType)")
        }
    }

    @Test func `all mistakes are reported, those of the header first`() {
        let push = LintPush(.background, #"{"aps":{"alert":"x"}}"#) { push in
            push.priority = .immediate
            push.expiration = 5
            push.collapseID = ""
        }
        #expect(
            push.findings.map(\.code) == [
                .priorityRefused, .expirationPast, .collapseIDEmpty, .backgroundVisible, .backgroundContentAvailable,
            ])
    }

    @Test func `findings contain Apple's keys only, and no content of the push`() {
        let secret = "s3cr3t"
        let payload = #"{"s3cr3t":"s3cr3t","aps":{"alert":["s3cr3t"],"s3cr3t":1,"interruption-level":"s3cr3t"}}"#
        let push = LintPush(.alert, payload) { push in
            push.topic = secret + ".voip"
            push.bundleID = secret + "2"
            push.collapseID = secret + "\n"
        }
        #expect(push.findings.count == 4)
        for finding in push.findings { #expect(!"\(finding)".contains(secret)) }
    }

    /// Whether `text` begins with a key or in lower case, and has no full stop at its end.
    private func isPhrase(_ text: String) -> Bool {
        guard let first = text.first, let last = text.last else { return false }
        return (first.isLowercase || first == "`") && last != "."
    }

    @Test func `codes are stable, messages and advice are phrases in lower case`() {
        #expect(LintCode.topicSuffixMissing.rawValue == "topic-suffix-missing")
        for code in LintCode.allCases {
            #expect(code.rawValue.utf8.allSatisfy { (97...122).contains($0) || $0 == 45 }, "\(code.rawValue)")
            #expect(isPhrase(code.advice), "\(code.rawValue)")
        }
        for example in LintCase.all {
            for finding in example.bad.findings { #expect(isPhrase(finding.message), "\(finding)") }
        }
        let finding = LintFinding(.topicEmpty, "`apns-topic` is empty")
        #expect(
            "\(finding)"
                == "error topic-empty: `apns-topic` is empty; send the bundle ID with the suffix of the push type")
    }

    @Test(arguments: ["", "{", "{}", "[", "\u{0}", #"{"aps":{"alert":{"sound":{"volume":1e999}}}}"#, "{\"aps\":1e5}"])
    func `malformed and degenerate payloads give findings and no crash`(payload: String) {
        for type in PushType.allCases {
            let isFree = type == .location || type == .complication || type == .voip || type == .pushtotalk
            #expect(!LintPush(type, payload).findings.isEmpty || (isFree && payload == "{}"))
        }
    }

    @Test func `a truncated payload gives one finding at every length`() {
        let whole = Array(LintPush.start.utf8)
        for count in 1..<whole.count {
            let push = LintPush(.liveactivity) { $0.payload = Array(whole[..<count]) }
            #expect(push.findings.map(\.code) == [.payloadNotJSON])
        }
    }

    /// The reader checks the whole payload before the rules run, so `payload-not-json` must agree with the reader.
    @Test func `damaged payloads are reported as not JSON exactly when the reader refuses them`() {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        func next(below bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let samples = PushType.allCases.map(LintPush.sample) + [LintPush.start]
        let alphabet = Array("{}[]\",:\\eE.-0159tfn \u{1}\u{80}aps".utf8)
        for _ in 0..<20_000 {
            var bytes = Array(samples[next(below: samples.count)].utf8)
            for _ in 0...next(below: 3) { bytes[next(below: bytes.count)] = alphabet[next(below: alphabet.count)] }
            let isJSON = bytes.withUnsafeBytes { text in
                var reader = JSONReader(text)
                return (try? reader.skipValue()) != nil && (try? reader.finish()) != nil
            }
            let push = LintPush(PushType.allCases[next(below: PushType.allCases.count)]) { $0.payload = bytes }
            #expect(push.findings.contains { $0.code == .payloadNotJSON } == !isJSON)
        }
    }
}
