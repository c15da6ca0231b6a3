import JSONText
import Testing

@testable import APNSWire

/// `PushLint` reads many pushes one after another; `NotificationLint` reads one. Both must find the same.
@Suite struct `Lint of many pushes` {
    private static let now = UNIXTime(secondsSince1970: LintPush.now)

    private static func push(_ push: LintPush) -> PushLint.Push {
        PushLint.Push(
            pushType: push.type, priority: push.priority, collapseID: push.collapseID, topic: push.topic,
            bundleID: push.bundleID, expiration: push.expiration
        )
    }

    /// - Returns: nil if the payload is not a JSON object, or has white space around it, which is not part of it.
    private static func report(_ lint: inout PushLint, _ push: LintPush) -> (codes: [LintCode], refusal: LintCode?)? {
        let isRead = push.payload.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            return (try? reader.peekKind()) == .object && (try? lint.readPayload(&reader)) == 0..<bytes.count
        }
        guard isRead else { return nil }
        let report = lint.check(Self.push(push), now: Self.now)
        return (report?.codes ?? [], report?.refusal)
    }

    private static func isComparable(_ push: LintPush) -> Bool {
        guard case .device(let tokenBytes) = push.target else { return false }
        return tokenBytes == 32 && push.authentication == nil
    }

    @Test func `finds what the lint of one push finds`() {
        var lint = PushLint()
        var count = 0
        for push in LintCase.all.flatMap({ [$0.bad, $0.good] }) where Self.isComparable(push) {
            let expected = push.findings
            guard let report = Self.report(&lint, push) else { continue }
            // A topic of another app is not a mistake here: the sender chose it.
            let codes = expected.map(\.code).filter { $0 != .topicBundle }
            #expect(report.codes == codes)
            #expect(lint.findings(Self.push(push), now: Self.now).map(\.code) == codes)
            let refused = expected.first { $0.code.isRefusedByAPNs && $0.severity == .error }
            #expect(report.refusal == refused?.code)
            count += 1
        }
        #expect(count > 100)
    }

    @Test func `a repeated payload is checked for each type`() {
        var lint = PushLint()
        let silent = #"{"aps":{"content-available":1}}"#
        for _ in 0..<3 {
            #expect(Self.report(&lint, LintPush(.alert, silent))?.codes == [.alertWithoutContent])
            #expect(Self.report(&lint, LintPush(.background, silent))?.codes == [])
            #expect(Self.report(&lint, LintPush(.alert))?.codes == [])
        }
    }

    @Test func `a malformed payload does not affect the next one`() {
        var lint = PushLint()
        let good = LintPush(.alert)
        for count in 1..<good.payload.count {
            #expect(Self.report(&lint, LintPush(.alert) { $0.payload = Array(good.payload[..<count]) }) == nil)
            #expect(Self.report(&lint, good)?.codes == [])
        }
    }

    @Test func `only what APNs answers with an error is a refusal`() {
        #expect(LintCode.priorityRefused.isRefusedByAPNs)
        #expect(LintCode.topicSuffixMissing.isRefusedByAPNs)
        for code: LintCode in [
            .alertWithoutContent, .backgroundVisible, .apsMissing, .liveActivityEvent, .expirationPast,
        ] {
            #expect(!code.isRefusedByAPNs, "\(code)")
        }
        for code in LintCode.allCases where code.isRefusedByAPNs { #expect(code.severity == .error, "\(code)") }
    }

    @Test func `keys are recognized by their names`() {
        func check<Key: PayloadKey>(_ keys: Key.Type, _ named: (UnsafeRawBufferPointer) -> Key?) {
            for key in Key.allCases {
                let found = Array("\(key.label)".utf8).withUnsafeBytes { named($0) }
                #expect(found == key, "\(key.label)")
            }
        }
        check(APSKey.self, APSKey.init)
        check(AlertKey.self, AlertKey.init)
        check(SoundKey.self, SoundKey.init)
        let bits =
            APSKey.allCases.map(\.bit) + AlertKey.allCases.map(\.bit) + SoundKey.allCases.map(\.bit)
            + RootKey.allCases.map(\.bit)
        #expect(Set(bits.map(\.rawValue)).count == bits.count, "each key has a bit of its own")
    }

    @Test(arguments: [
        ("aps", "aps", false), ("APS", "aps", true), ("a_ps", "aps", true), ("apt", "aps", false),
        ("badgee", "badge", true), ("bagde", "badge", true), ("bade", "badge", true), ("bxdge", "badge", true),
        ("bxdgx", "badge", false), ("mutableContent", "mutable-content", true), ("", "badge", false),
        ("device_tokn", "device_token", true), ("devicetoken", "device_token", true), ("topics", "topic", true),
    ])
    func `misspelt keys are recognized`(name: String, known: StaticStringBox, isClose: Bool) {
        let found = Array(name.utf8).withUnsafeBytes { KeySpelling.isClose($0, to: known.text) }
        #expect(found == isClose, "\(name)")
    }

    /// `StaticString` is not an argument of a test.
    struct StaticStringBox: Sendable, ExpressibleByStringLiteral, CustomTestStringConvertible {
        let text: StaticString
        init(stringLiteral text: StaticString) { self.text = text }
        var testDescription: String { "\(text)" }
    }
}
