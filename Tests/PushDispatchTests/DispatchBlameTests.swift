import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

private func refusal(_ reason: APNSReason) -> APNSAnswer {
    APNSAnswer(disposition: .answered, status: reason.status!, reason: reason)
}

private let app = AppEnvironment(AppID("a"))

/// A configuration in which the gateway derives the topic "t" for the app.
private var ownTopic: DispatchConfiguration {
    var configuration = DispatchConfiguration()
    configuration.apps[app] = AppSettings(id: app.app, bundleID: "t")
    return configuration
}

extension DispatchHarness {
    fileprivate var isRefused: Bool {
        events.contains { if case .credentialRefused = $0 { true } else { false } }
    }
}

@Suite struct `The blame for a refused push` {
    @Test(arguments: [refusal(.forbidden), APNSAnswer(disposition: .answered, status: 403, reason: .unknown)])
    func `is its own if it is forbidden, and the others are not delayed`(_ answer: APNSAnswer) {
        let harness = DispatchHarness()
        let bad = harness.addNew(1)
        harness.answer = { $0.batch.firstID == bad.value ? answer : .accepted }
        for _ in 0..<100 { harness.addNew(1) }
        harness.run(.milliseconds(250))
        #expect(harness.pushes == 0 && harness.sent() == 101 && !harness.isRefused)
        #expect(harness.status(bad).state == .settled(.rejected) && harness.status(bad).code == .requestRefused)
    }

    @Test func `is the app's if nearly all of its pushes are forbidden`() {
        let harness = DispatchHarness()
        harness.answer = { _ in refusal(.forbidden) }
        harness.addNew(500)
        harness.run(.seconds(30))
        #expect(harness.isRefused && harness.verdicts.isEmpty && harness.attempts == 0)
        harness.answer = { _ in .accepted }
        harness.run(.seconds(6))
        #expect(harness.verdicts.count { $0 == .delivered } == 500)
    }

    @Test func `is their own if a dozen are forbidden among others, whose app resumes`() {
        let harness = DispatchHarness()
        harness.flow(10, for: .seconds(5))
        let bad = harness.addNew(12)
        harness.answer = { $0.batch.firstID == bad.value ? refusal(.forbidden) : .accepted }
        harness.flow(10, for: .seconds(60))
        harness.run(.seconds(60))
        #expect(harness.verdicts.count { $0 == .delivered } == 650, "\(harness.pushes) wait")
    }

    @Test func `is checked if the credential is refused once`() {
        let harness = DispatchHarness()
        for _ in 0..<48 { harness.addNew(1) }
        harness.run(.milliseconds(250))
        let bad = harness.addNew(1)
        var refusals = 1
        harness.answer = { send in
            guard send.batch.firstID == bad.value, refusals > 0 else { return .accepted }
            refusals -= 1
            return refusal(.invalidProviderToken)
        }
        for _ in 0..<20 { harness.addNew(1) }
        harness.run(.milliseconds(500))
        #expect(harness.pushes == 1 && !harness.isRefused, "the others waited for one check")
        harness.run(.seconds(2))
        #expect(harness.pushes == 0 && harness.status(bad).state == .settled(.delivered))
        #expect(harness.status(bad).attempts == 1 && !harness.isRefused)
    }

    @Test func `is checked with itself if there is no other push`() {
        let harness = DispatchHarness()
        var refusals = 1
        harness.answer = { _ in
            refusals -= 1
            return refusals >= 0 ? refusal(.invalidProviderToken) : .accepted
        }
        harness.addNew(1)
        harness.run(.seconds(2))
        #expect(harness.pushes == 0 && harness.sent() == 2 && !harness.isRefused)
    }

    @Test(arguments: [
        APNSReason.invalidProviderToken, .missingProviderToken, .badEnvironmentKeyIdInToken, .expiredProviderToken,
        .tooManyProviderTokenUpdates, .badCertificate,
    ])
    func `is the credential's if a second push is refused`(_ reason: APNSReason) {
        let harness = DispatchHarness(apps: ["a", "b"])
        harness.answer = { $0.app == app ? refusal(reason) : .accepted }
        harness.addNew(3)
        harness.run(.milliseconds(500))
        #expect(harness.events.contains(.credentialRefused(app, reason)) && harness.state() == .open)
        for _ in 0..<40 { harness.addNew(500) }
        for _ in 0..<4 { harness.addNew(500, app: "b") }
        let before = harness.sent()
        harness.run(.seconds(300))
        #expect((15...60).contains(harness.sent() - before), "one probe every few seconds")
        #expect(harness.sent("b") == 2_000 && harness.attempts == 0)
        #expect(harness.delay() == DeliveryDelay(reason: .credentialRefused, estimate: nil))
        #expect(!harness.reserve("a") && harness.reserve("b"))
        harness.answer = { _ in .accepted }
        harness.run(.seconds(33))
        #expect(harness.events.contains(.credentialAccepted(app)) && harness.pushes == 0)
        #expect(harness.verdicts.allSatisfy { $0 == .delivered })
    }

    @Test func `is the credential's if APNs closes each connection because of it`() {
        let harness = DispatchHarness()
        harness.answer = { _ in APNSAnswer(disposition: .neverWritten, reason: .badCertificate, failure: .goAway) }
        harness.addNew(10)
        harness.run(.milliseconds(500))
        #expect(harness.events.contains(.credentialRefused(app, .badCertificate)))
        #expect(harness.events.allSatisfy { if case .endpointBreakerChanged = $0 { false } else { true } })
    }

    @Test func `is its own if its credential is refused while others are accepted`() {
        let harness = DispatchHarness()
        let bad = harness.addNew(1)
        harness.answer = { $0.batch.firstID == bad.value ? refusal(.invalidProviderToken) : .accepted }
        for _ in 0..<120 {
            harness.addNew(2)
            harness.run(.seconds(1))
            #expect(harness.pushes <= 1, "the others are not delayed")
        }
        #expect(!harness.isRefused && harness.status(bad).state == .settled(.rejected))
        #expect(harness.sent() == 240 + 6)
    }

    @Test func `is never its own if the provider token was changed too often`() {
        let harness = DispatchHarness()
        let bad = harness.addNew(1)
        harness.answer = { $0.batch.firstID == bad.value ? refusal(.tooManyProviderTokenUpdates) : .accepted }
        for _ in 0..<600 {
            harness.addNew(2)
            harness.run(.seconds(1))
        }
        #expect(harness.pushes == 1 && harness.attempts == 0 && !harness.isRefused)
    }
}

@Suite struct `The blame for a refused topic` {
    @Test(arguments: [APNSReason.badTopic, .topicDisallowed, .missingTopic])
    func `is the push's if the caller named it`(_ reason: APNSReason) {
        let harness = DispatchHarness(ownTopic)
        harness.answer = { _ in .accepted }
        harness.answerPush = { send, _ in send.batch.headers[0].topic == "t" ? nil : refusal(reason) }
        harness.addNew(20, topic: "other")
        harness.addNew(20)
        harness.run(.milliseconds(250))
        #expect(harness.verdicts.count { $0 == .rejected } == 20 && harness.verdicts.count { $0 == .delivered } == 20)
        #expect(!harness.isRefused)
    }

    @Test func `is the app's if its own topic is refused: an error in bundle_id rejects no queue`() {
        let harness = DispatchHarness(ownTopic)
        harness.answer = { _ in refusal(.topicDisallowed) }
        for _ in 0..<10 { harness.addNew(100) }
        harness.run(.seconds(60))
        #expect(harness.verdicts.isEmpty && harness.attempts == 0)
        #expect(harness.events.contains(.credentialRefused(app, .topicDisallowed)))
        #expect(harness.sent() < 1_100)
        harness.answer = { _ in .accepted }
        harness.run(.seconds(7))
        #expect(harness.verdicts.count { $0 == .delivered } == 1_000)
    }

    @Test func `is the app's even if its pushes come one by one`() {
        let harness = DispatchHarness(ownTopic)
        harness.answer = { _ in refusal(.badTopic) }
        for _ in 0..<20 {
            harness.addNew(1)
            harness.run(.seconds(1))
        }
        #expect(harness.verdicts.isEmpty && harness.isRefused)
    }

    @Test func `is the push's if it is the only one`() {
        let harness = DispatchHarness(ownTopic)
        harness.answer = { _ in refusal(.badTopic) }
        let batch = harness.addNew(1)
        harness.run(.seconds(15))
        #expect(harness.status(batch).state == .settled(.rejected) && harness.status(batch).code == .topicRefused)
        #expect(harness.sent() == 4 && !harness.isRefused)
    }

    @Test func `is the push's while others of the app are accepted`() {
        let harness = DispatchHarness(ownTopic)
        let bad = harness.addNew(1)
        harness.answer = { $0.batch.firstID == bad.value ? refusal(.topicDisallowed) : .accepted }
        for _ in 0..<20 { harness.addNew(5) }
        harness.run(.milliseconds(500))
        #expect(harness.pushes <= 1)
        harness.run(.seconds(3))
        #expect(harness.status(bad).state == .settled(.rejected) && !harness.isRefused)
    }
}
