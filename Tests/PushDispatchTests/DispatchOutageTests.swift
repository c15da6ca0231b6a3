import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

private let unavailable = APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable)

/// What APNs does during an outage.
enum Outage: CaseIterable {
    case serverError, notAPNs, unreachable, silent

    /// The answer, and how long it takes.
    var answer: (APNSAnswer, after: Duration) {
        switch self {
        case .serverError: (unavailable, .zero)
        case .notAPNs: (APNSAnswer(disposition: .answered, status: 302), .zero)
        case .unreachable: (.failed(.connectRefused, .neverWritten), .seconds(3))
        case .silent: (.failed(.deadlineExceeded, .ambiguous), .seconds(10))
        }
    }
}

/// A harness whose APNs is away for some time.
private final class OutageHarness {
    let dispatch: DispatchHarness
    private var sentAt: [UInt64: Duration] = [:]
    /// The kind of each send that began in an outage.
    private var fates: [UInt64: Outage] = [:]
    var outage: Outage?
    private(set) var deliveries: [(at: Duration, batch: BatchID, count: Int)] = []

    init(_ configuration: DispatchConfiguration = DispatchConfiguration(), apps: [String] = ["a"]) {
        dispatch = DispatchHarness(configuration, apps: apps)
        dispatch.answer = { [unowned self] in answer($0) }
    }

    private func answer(_ send: DispatchActions.Send) -> APNSAnswer? {
        let now = dispatch.now.monotonic
        if sentAt[send.ticket] == nil {
            sentAt[send.ticket] = now
            fates[send.ticket] = outage
        }
        guard let fate = fates[send.ticket]?.answer else {
            deliveries.append((now, send.lease.batch, send.count))
            return .accepted
        }
        return now - sentAt[send.ticket]! >= fate.after ? fate.0 : nil
    }

    /// The batch that has waited longest: neither ended nor in flight. nil if all are.
    var oldestWaiting: BatchID? {
        let inFlight = Set(dispatch.inFlight.map(\.lease.batch))
        return dispatch.batches.lazy.map(\.id).first { id in
            if case .settled = dispatch.status(id).state { return false }
            return !inFlight.contains(id)
        }
    }

    /// Deliveries in each second from `start`.
    func perSecond(from start: Duration, seconds: Int) -> [Int] {
        var counts = Array(repeating: 0, count: seconds)
        for delivery in deliveries where delivery.at > start {
            let second = Int(((delivery.at - start).milliseconds - 1) / 1000)
            if second < seconds { counts[second] += delivery.count }
        }
        return counts
    }
}

@Suite struct `An outage of APNs` {
    @Test(
        arguments: zip(
            Outage.allCases + Outage.allCases + [.serverError, .silent], [8, 20, 30, 60, 60, 30, 20, 8, 300, 300]))
    func `ends with the oldest push within two seconds, and without a spike`(_ kind: Outage, _ seconds: Int) throws {
        let harness = OutageHarness()
        harness.dispatch.flow(24, for: .seconds(15))
        harness.outage = kind
        harness.dispatch.flow(24, for: .seconds(seconds))
        let end = harness.dispatch.now.monotonic
        #expect(harness.dispatch.attemptsMax <= 3, "an outage costs no attempts")
        // A short silence ends before the first push has waited for its whole deadline.
        if kind != .silent || seconds > 12 { #expect(harness.dispatch.state() != .closed) }
        harness.outage = nil
        let oldest = harness.oldestWaiting
        harness.dispatch.flow(24, for: .seconds(seconds * 4 + 15))
        harness.dispatch.run(.seconds(15))
        let first = harness.deliveries.first { $0.at > end }!.at
        let limit: Duration = seconds <= 60 ? .seconds(2) : .seconds(15)
        #expect(first - end <= limit)
        if let oldest {
            let waited = try #require(harness.deliveries.first { $0.batch == oldest }).at - end
            #expect(waited <= limit, "the oldest waited \(waited)")
        }
        #expect(harness.dispatch.verdicts.allSatisfy { $0 == .delivered } && harness.dispatch.pushes == 0)
        #expect(harness.dispatch.state() == .closed && harness.dispatch.stateMachine.isEmpty)
        guard kind != .silent || seconds > 12 else { return }
        let rates = harness.perSecond(from: first, seconds: seconds * 3)
        #expect(rates.max()! <= 36, "\(rates)")
        #expect(rates.dropFirst().allSatisfy { $0 >= 22 }, "\(rates)")
    }

    @Test(arguments: Outage.allCases)
    func `does not delay the verdict of a push that expires, in memory or in the store`(_ kind: Outage) {
        let harness = OutageHarness()
        harness.outage = kind
        harness.dispatch.flow(24, for: .seconds(20))
        #expect(harness.dispatch.state() != .closed)
        let expiration = harness.dispatch.now.wall.seconds + 10
        let batches = (0..<200).map { _ in harness.dispatch.addNew(1, expiration: expiration) }
        harness.dispatch.run(.seconds(8))
        #expect(!harness.dispatch.verdicts.contains(.expired))
        #expect(harness.dispatch.stateMachine.pushesInMemory > harness.dispatch.inFlight.count, "some are in memory")
        harness.dispatch.run(.seconds(4))
        let probed = Set(harness.dispatch.inFlight.map(\.lease.batch))
        for batch in batches where !probed.contains(batch) {
            #expect(harness.dispatch.status(batch).state == .settled(.expired))
        }
    }

    @Test func `of a credential that is mended ends without a spike`() {
        let harness = DispatchHarness()
        var isRefused = false
        var deliveries: [(at: Duration, count: Int)] = []
        harness.answer = { [unowned harness] send in
            if isRefused { return APNSAnswer(disposition: .answered, status: 403, reason: .invalidProviderToken) }
            deliveries.append((harness.now.monotonic, send.count))
            return .accepted
        }
        harness.flow(24, for: .seconds(15))
        isRefused = true
        harness.flow(24, for: .seconds(60))
        #expect(harness.delay()?.reason == .credentialRefused)
        let end = harness.now.monotonic
        isRefused = false
        harness.flow(24, for: .seconds(300))
        #expect(harness.pushes == 0 && harness.verdicts.allSatisfy { $0 == .delivered })
        var rates: [Int64: Int] = [:]
        for delivery in deliveries where delivery.at > end {
            rates[(delivery.at.milliseconds - 1) / 1000, default: 0] += delivery.count
        }
        #expect(rates.values.max()! <= 36, "\(rates.sorted { $0.key < $1.key }.map(\.value))")
    }

    @Test func `of a quiet app leaves a backlog that waits for a reason`() throws {
        let harness = OutageHarness()
        harness.dispatch.flow(1, for: .seconds(20))
        harness.outage = .serverError
        harness.dispatch.flow(50, for: .seconds(30))
        harness.outage = nil
        harness.dispatch.run(.seconds(5))
        let delay = try #require(harness.dispatch.delay())
        #expect(delay.reason == .backlog)
        #expect(delay.detail?.contains("20 pushes/s after an outage") ?? false, "\(delay)")
        harness.dispatch.run(.seconds(300))
        #expect(harness.dispatch.pushes == 0 && harness.dispatch.delay() == nil)
    }

    @Test func `ends with the oldest push of many quiet apps`() throws {
        let apps = (0..<100).map { "app\(100 + $0)" }
        let harness = OutageHarness(apps: apps)
        func flow(_ seconds: Int) {
            for step in 0..<seconds * 4 {
                for push in 0..<5 { harness.dispatch.addNew(1, app: apps[(step * 37 + push * 21) % apps.count]) }
                harness.dispatch.run(.milliseconds(250))
            }
        }
        flow(30)
        harness.outage = .unreachable
        flow(30)
        #expect(harness.dispatch.state("app100") != .closed)
        let end = harness.dispatch.now.monotonic
        harness.outage = nil
        let oldest = try #require(harness.oldestWaiting)
        flow(30)
        let waited = try #require(harness.deliveries.first { $0.batch == oldest }).at - end
        #expect(waited <= .seconds(2), "the oldest waited \(waited)")
    }

    @Test(arguments: Outage.allCases)
    func `of half an hour does not give up the only push of a quiet app`(_ kind: Outage) {
        let harness = OutageHarness()
        harness.outage = kind
        let batch = harness.dispatch.addNew(1)
        harness.dispatch.run(.seconds(1_800))
        #expect(harness.dispatch.attemptsMax <= 3 && harness.dispatch.state() != .closed)
        #expect(harness.dispatch.sent() < 75 + 1_800 / 4, "a probe every five seconds")
        let delay = harness.dispatch.delay()
        #expect(delay?.reason == .apnsUnreachable && delay?.estimate == nil)
        #expect(delay?.detail?.hasPrefix("the last failure: ") == true)
        let end = harness.dispatch.now.monotonic
        harness.outage = nil
        harness.dispatch.run(.seconds(15))
        #expect(harness.deliveries.first.map { $0.at - end <= .seconds(15) } ?? false)
        #expect(harness.dispatch.status(batch).state == .settled(.delivered))
    }

    @Test func `one lost connection under a first burst stops nothing`() {
        let harness = DispatchHarness()
        var lost: Set<UInt64> = []
        harness.answer = { [unowned harness] send in
            guard harness.now.monotonic < .seconds(1_000.3) else { return .accepted }
            lost.insert(send.ticket)
            return .failed(.connectionReset, .ambiguous)
        }
        for _ in 0..<120 { harness.addNew(1) }
        harness.run(.milliseconds(250))
        #expect(lost.count == 120 && harness.state() == .closed)
        harness.addNew(1)
        harness.run(.milliseconds(250))
        #expect(harness.settled.count >= 1, "a new push is not delayed")
        harness.run(.seconds(3))
        #expect(harness.pushes == 0)
        #expect(harness.events.allSatisfy { if case .endpointBreakerChanged = $0 { false } else { true } })
    }

    @Test func `an APNs that answers after six seconds is used`() {
        let harness = DispatchHarness()
        var sentAt: [UInt64: Duration] = [:]
        harness.answer = { [unowned harness] send in
            let start = sentAt[send.ticket, default: harness.now.monotonic]
            sentAt[send.ticket] = start
            return harness.now.monotonic - start >= .seconds(6) ? .accepted : nil
        }
        for _ in 0..<60 {
            harness.flow(20, for: .seconds(1))
            #expect(harness.state() == .closed)
        }
        harness.run(.seconds(7))
        #expect(harness.pushes == 0 && harness.sent() == 60 * 20, "no push was sent twice")
    }

    @Test func `a push that fails while others succeed backs off and is given up, and delays no other`() {
        var configuration = DispatchConfiguration()
        configuration.policy.attemptsMax = 16
        let harness = DispatchHarness(configuration)
        let bad = harness.addNew(1)
        harness.answer = { $0.batch.firstID == bad.value ? unavailable : .accepted }
        for _ in 0..<300 {
            harness.addNew(1)
            harness.run(.seconds(1))
            #expect(harness.state() == .closed && harness.depth.pushes == 1)
        }
        #expect((6...14).contains(harness.status(bad).attempts), "each wait is twice the one before")
        for _ in 0..<200 {
            harness.addNew(1)
            harness.run(.seconds(30))
        }
        #expect(harness.status(bad).state == .settled(.givenUp) && harness.status(bad).code == .apnsUnavailable)
    }

    @Test func `the only push of an app that fails does not delay the next one`() {
        let harness = DispatchHarness()
        let bad = harness.addNew(1)
        harness.answer = { $0.batch.firstID == bad.value ? unavailable : .accepted }
        harness.run(.seconds(100))
        #expect(harness.state() != .closed && harness.attempts <= 3)
        let good = harness.addNew(1)
        harness.run(.milliseconds(250))
        #expect(harness.status(good).state == .settled(.delivered))
    }

    @Test func `the apps of an endpoint take turns with its probes`() {
        let harness = DispatchHarness(apps: ["a", "b", "c"])
        harness.answer = { _ in unavailable }
        for app in ["a", "b", "c"] { harness.addNew(100, app: app) }
        harness.run(.seconds(3))
        #expect(harness.state() != .closed)
        // The pushes of two apps keep failing.
        harness.answer = { $0.app.app == AppID("c") ? .accepted : unavailable }
        harness.run(.milliseconds(3_500))
        #expect(harness.state("c") == .closed && harness.sent("c") >= 100)
    }

    @Test func `at-most-once pushes are probes only if there is no other`() {
        let harness = DispatchHarness()
        harness.answer = { _ in unavailable }
        harness.flow(20, for: .seconds(3))
        #expect(harness.state() != .closed)
        harness.append(claimed(5, ambiguity: .drop, firstToken: 5_000).batch)
        harness.answer = { _ in .failed(.deadlineExceeded, .ambiguous) }
        harness.run(.seconds(20))
        #expect(harness.verdicts.isEmpty)
    }
}

@Suite struct `The end of a push's time` {
    @Test func `is its expiration, not the next attempt`() {
        let harness = DispatchHarness()
        harness.answer = { _ in
            APNSAnswer(disposition: .answered, status: 429, reason: .tooManyRequests, retryAfterSeconds: 600)
        }
        let expiration = harness.now.wall.seconds + 20
        let batch = harness.addNew(1, expiration: expiration)
        harness.run(.seconds(19))
        #expect(harness.status(batch).state == .retrying)
        harness.run(.milliseconds(1_500))
        #expect(harness.status(batch).state == .settled(.expired))
        #expect(harness.sent() == 1 && harness.status(batch).code == .frequencyExceeded)
    }

    @Test func `comes in time for a push that waits in memory because the window is full`() {
        var configuration = DispatchConfiguration()
        configuration.limits.windowPerApp = 10
        let harness = DispatchHarness(configuration)
        harness.answer = { _ in nil }
        let batches = (0..<40).map { _ in harness.addNew(1, expiration: harness.now.wall.seconds + 4) }
        harness.run(.milliseconds(3_500))
        #expect(harness.verdicts.isEmpty && harness.stateMachine.pushesInMemory == 40)
        harness.run(.seconds(2))
        let inFlight = Set(harness.inFlight.map(\.lease.batch))
        #expect((1...10).contains(inFlight.count))
        for batch in batches where !inFlight.contains(batch) {
            #expect(harness.status(batch).state == .settled(.expired))
        }
    }

    @Test func `is half a minute for an expiration of 0`() {
        let harness = DispatchHarness()
        harness.answer = { _ in
            APNSAnswer(disposition: .answered, status: 429, reason: .tooManyRequests, retryAfterSeconds: 5)
        }
        let batch = harness.addNew(1, expiration: 0)
        harness.run(.seconds(29))
        #expect(harness.status(batch).state == .retrying)
        harness.run(.milliseconds(1_500))
        #expect(harness.status(batch).state == .settled(.expired) && (5...6).contains(harness.sent()))
    }
}
