import APNSWire
import PushModel
import Testing

/// A check with its own clock and random numbers.
private final class CheckHarness {
    var check = CredentialCheck()
    var now: Duration = .seconds(1_000)
    private var generator = SeededGenerator(seed: 4)
    private var ticket: UInt64 = 0

    @discardableResult
    func refused(_ tokens: UInt64..., good: Int = 0, isProven: Bool = false) -> CredentialCheck.Change? {
        var sample = DistinctTokens()
        for token in tokens { sample.insert(token) }
        return check.record(
            refused: sample, cause: .invalidProviderToken, good: good, isProven: isProven, now: now,
            jitter: generator.nextUnit())
    }

    @discardableResult func good(_ count: Int) -> CredentialCheck.Change? {
        check.record(refused: DistinctTokens(), cause: .none, good: count, now: now, jitter: generator.nextUnit())
    }

    func isProbeDue(_ token: UInt64) -> Bool { check.isProbeDue(token: token, now: now) }

    /// Sends a probe and reports its answer.
    @discardableResult
    func probe(_ token: UInt64, _ result: ProbeResult) -> CredentialCheck.Change? {
        ticket += 1
        check.probe(ticket, token: token, now: now)
        #expect(check.isProbing(ticket) && !isProbeDue(token) && !isProbeDue(99), "one at a time")
        return check.probeAnswered(
            ticket, result, cause: .expiredProviderToken, now: now, jitter: generator.nextUnit())
    }

    func advance(_ duration: Duration) {
        now += duration
        check.advance(now: now, jitter: generator.nextUnit())
    }
}

@Suite struct `The check of a credential` {
    @Test func `one refusal is checked immediately with a push to another token`() {
        let harness = CheckHarness()
        harness.good(48)
        #expect(harness.refused(1) == nil && harness.check.state == .checking)
        #expect(harness.isProbeDue(2) && !harness.isProbeDue(1))
        #expect(harness.probe(2, .good) == .checked && harness.check.state == .accepted)
    }

    @Test func `a second refusal confirms the first, and a good probe resumes immediately`() {
        let harness = CheckHarness()
        harness.refused(1)
        #expect(harness.probe(2, .failed(.credentialRefused)) == .refused && harness.check.state == .refused)
        #expect(harness.check.cause == .expiredProviderToken, "the last reason")
        #expect(!harness.isProbeDue(3))
        harness.advance(harness.check.timeUntilProbe(now: harness.now)!)
        #expect(harness.isProbeDue(3))
        #expect(harness.probe(3, .good) == .accepted)
        #expect(harness.check.state == .accepted && harness.check.timeUntilProbe(now: harness.now) == nil)
    }

    @Test func `a push without another one checks the credential itself after a second`() {
        let harness = CheckHarness()
        harness.refused(1)
        harness.advance(.milliseconds(999))
        #expect(!harness.isProbeDue(1))
        harness.advance(.milliseconds(1))
        #expect(harness.isProbeDue(1) && harness.probe(1, .failed(.credentialRefused)) == .refused)
        // Another token may be accepted: one bad push must not delay it.
        #expect(!harness.isProbeDue(1) && harness.isProbeDue(2))
        #expect(harness.probe(2, .failed(.credentialRefused)) == nil)
        #expect(!harness.isProbeDue(3), "two tokens confirm it")
    }

    @Test func `refusals of several tokens in one group need no check`() {
        let harness = CheckHarness()
        #expect(harness.refused(1, 2) == .refused)
        let mixed = CheckHarness()
        #expect(mixed.refused(1, 2, good: 1) == nil && mixed.check.state == .checking)
        // The application may send to tokens that only seem to refuse the credential, so that is always checked.
        let proven = CheckHarness()
        #expect(proven.refused(1, 2, 3, isProven: true) == nil && proven.check.state == .checking)
    }

    @Test func `pushes that were in flight confirm it before the check is sent`() {
        let harness = CheckHarness()
        harness.refused(1)
        #expect(harness.refused(1) == nil && harness.check.state == .checking, "the same token")
        #expect(harness.refused(2) == .refused)
        #expect(harness.refused(3) == nil, "reported once")
    }

    @Test func `it probes every few seconds, later every 30 s`() {
        let harness = CheckHarness()
        harness.refused(1, 2)
        var gaps: [Duration] = []
        for _ in 0..<60 {
            let gap = harness.check.timeUntilProbe(now: harness.now)!
            harness.advance(gap - .milliseconds(1))
            #expect(!harness.isProbeDue(5))
            harness.advance(.milliseconds(1))
            gaps.append(gap)
            harness.probe(5, .failed(.credentialRefused))
        }
        #expect(gaps.prefix(12).allSatisfy { $0 >= .milliseconds(2_500) && $0 <= .seconds(5) })
        #expect(gaps.suffix(20).allSatisfy { $0 >= .seconds(15) && $0 <= .seconds(30) })
    }

    @Test func `a token that is refused again and again does not hold the others each time`() {
        let harness = CheckHarness()
        harness.refused(1)
        harness.probe(2, .good)
        for _ in 0..<9 {
            harness.advance(.seconds(1))
            harness.good(10)
            harness.refused(1)
            #expect(harness.check.state == .accepted)
        }
        // Two tokens without a good answer are no coincidence.
        harness.refused(3)
        #expect(harness.check.state == .refused)
    }

    @Test func `an unanswered probe is void`() {
        let harness = CheckHarness()
        harness.refused(1)
        harness.check.probe(9, token: 2, now: harness.now)
        harness.advance(.seconds(30))
        #expect(!harness.check.isProbing && harness.isProbeDue(2) && harness.check.state == .checking)
        #expect(harness.probe(2, .void) == nil && harness.check.state == .checking)
        harness.refused(5)
        harness.check.probe(10, token: 6, now: harness.now)
        harness.advance(.seconds(30))
        #expect(!harness.check.isProbing && !harness.isProbeDue(6), "the next one is due some seconds later")
    }
}

@Suite struct `The blame for a refusal` {
    private let now: Duration = .seconds(1_000)
    private let batch = BatchID.random(at: WallTime(seconds: 1_790_000_000))

    private func assign(
        _ window: inout RefusalWindow, _ refusal: RefusalKind, push: Int = 0, isAppRefused: Bool = false
    ) -> RefusalWindow.Blame {
        window.assignBlame(for: refusal, of: batch.push(push), isAppRefused: isAppRefused, now: now)
    }

    private func refusals(_ kind: RefusalKind, _ tokens: Range<UInt64>) -> [RefusalWindow.Entry] {
        tokens.map { .refused(kind, token: $0) }
    }

    @Test func `a forbidden push is rejected, unless eight of the last ten tokens fail alike`() {
        var window = RefusalWindow()
        window.recordAccepted(100, now: now)
        for token in UInt64(0)..<7 {
            window.record(refusals(.permission, token..<token + 1), now: now)
            #expect(assign(&window, .permission) == .push)
        }
        window.record([.other, .accepted], now: now)
        #expect(assign(&window, .permission) == .push)
        window.record(refusals(.permission, 7..<8), now: now)
        #expect(assign(&window, .permission) == .app)
        window.record([.accepted], now: now)
        #expect(assign(&window, .permission) == .push, "the window moves on")
    }

    @Test func `the same token counts once, and accepted pushes count against it`() {
        var window = RefusalWindow()
        for _ in 0..<10 { window.record(refusals(.permission, 1..<2), now: now) }
        #expect(assign(&window, .permission) == .push)
        window.record(refusals(.permission, 0..<10), now: now)
        #expect(assign(&window, .permission) == .app)
        window.recordAccepted(3, now: now)
        #expect(assign(&window, .permission) == .push)
    }

    @Test func `a whole group of forbidden pushes is the app's fault, and none is rejected`() {
        var window = RefusalWindow()
        window.record(refusals(.permission, 0..<500), now: now)
        for push in 0..<500 { #expect(assign(&window, .permission, push: push) == .app) }
    }

    @Test func `the app's own topic is its own fault as soon as two tokens are refused and none accepted`() {
        var window = RefusalWindow()
        window.record(refusals(.ownTopic, 1..<2), now: now)
        #expect(assign(&window, .ownTopic) == .undecided(refusals: 1))
        window.record(refusals(.ownTopic, 2..<3), now: now)
        #expect(assign(&window, .ownTopic, push: 1) == .app)
    }

    @Test func `a lone push with the app's own topic is rejected after a few tries`() {
        var window = RefusalWindow()
        for count in 1...4 {
            window.record(refusals(.ownTopic, 1..<2), now: now)
            #expect(assign(&window, .ownTopic) == (count < 4 ? .undecided(refusals: count) : .push))
        }
    }

    @Test func `while others are accepted the app's own topic is the push's fault`() {
        var window = RefusalWindow()
        window.recordAccepted(1, now: now)
        window.record(refusals(.ownTopic, 1..<4), now: now)
        #expect(assign(&window, .ownTopic) == .push)
        window.record(refusals(.ownTopic, 4..<9), now: now)
        #expect(assign(&window, .ownTopic) == .app, "the key lost the topic")
        var later = RefusalWindow()
        later.recordAccepted(1, now: now - .seconds(60))
        later.record(refusals(.ownTopic, 1..<4), now: now)
        #expect(assign(&later, .ownTopic) == .app)
    }

    @Test func `a push whose credential is refused while others are accepted is rejected in the end`() {
        var window = RefusalWindow()
        for count in 1...6 {
            window.recordAccepted(5, now: now)
            window.record(refusals(.credential, 1..<2), now: now)
            #expect(assign(&window, .credential) == (count < 6 ? .undecided(refusals: count) : .push))
            #expect(assign(&window, .credential, push: 1, isAppRefused: true) == .app)
        }
    }

    @Test(arguments: [RefusalKind.expiredToken, .tokenUpdates])
    func `a provider token's age is never the fault of a push`(_ kind: RefusalKind) {
        var window = RefusalWindow()
        for count in 1...100 {
            window.recordAccepted(5, now: now)
            window.record(refusals(kind, 1..<2), now: now)
            #expect(assign(&window, kind) == .undecided(refusals: count))
        }
    }

    @Test func `refusals are counted for a thousand pushes`() {
        var window = RefusalWindow()
        for push in 0..<1_000 { #expect(assign(&window, .credential, push: push) == .undecided(refusals: 1)) }
        #expect(assign(&window, .credential, push: 0) == .undecided(refusals: 2))
        let other = BatchID.random(at: WallTime(seconds: 1_790_000_001))
        _ = window.assignBlame(for: .credential, of: other.push(0), isAppRefused: false, now: now)
        #expect(assign(&window, .credential, push: 0) == .undecided(refusals: 1), "the oldest is forgotten")
    }
}

@Suite struct `Distinct tokens` {
    @Test func `a token is counted once, and the number is bounded`() {
        var tokens = DistinctTokens()
        for token in UInt64(0)..<100 {
            tokens.insert(token % 50)
            tokens.insert(token % 50)
        }
        #expect(tokens.count == DistinctTokens.countMax)
    }

    @Test func `equal tokens have equal hashes`() {
        var batch = NotificationBatch(firstID: BatchID.random(at: WallTime(seconds: 1)).value)
        let headers = NotificationHeaders(topic: "a", pushType: .alert)
        for token: [UInt8] in [[1, 2, 3], [1, 2, 4], [1, 2, 3]] {
            token.withUnsafeBytes { token in
                [UInt8(1)].withUnsafeBytes { batch.append(token: token, payload: $0, headers: headers) }
            }
        }
        let hashes = (0..<3).map(batch.tokenHash(at:))
        #expect(hashes[0] == hashes[2] && hashes[0] != hashes[1])
    }
}
