import PushModel
import Testing

@Suite struct `The admission policy` {
    private static let apps = ["a", "b", "c", "d"].map { AppID($0) }

    private static func policy(
        _ apps: Int = 1, _ change: (inout AdmissionLimits) -> Void = { _ in }
    ) -> AdmissionPolicy {
        var limits = AdmissionLimits()
        change(&limits)
        return AdmissionPolicy(limits: limits, apps: Array(Self.apps.prefix(apps)))
    }

    /// Parallel to `apps`.
    private static func queued(_ pushes: Int...) -> AdmissionSample {
        AdmissionSample(
            apps: Dictionary(uniqueKeysWithValues: zip(apps, pushes.map { AppLoad(queuedPushes: $0) }))
        )
    }

    // MARK: Shared resources

    @Test func `a full disk refuses all apps until 64 MiB more are free`() {
        var policy = Self.policy()
        let mebibyte = 1024 * 1024
        let steps: [(Int, AdmissionRefusal?)] = [
            (256, nil), (255, .disk), (256, .disk), (319, .disk), (320, nil), (256, nil),
        ]
        for (free, expected) in steps {
            let decision = policy.update(AdmissionSample(bytesFree: free * mebibyte))
            #expect(decision.shared == expected, "\(free) MiB")
        }
    }

    @Test(arguments: [(8, 7, 10), (100, 99, 125), (1024, 1023, 1088)])
    func `a small limit has a small margin, so that a small disk recovers`(limit: Int, short: Int, open: Int) {
        var policy = Self.policy { $0.bytesFreeMin = limit << 20 }
        #expect(policy.update(AdmissionSample(bytesFree: short << 20)).shared == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: (open << 20) - 1)).shared == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: open << 20)).shared == nil)
    }

    @Test func `memory is checked if it has a limit`() {
        var policy = Self.policy()
        #expect(policy.update(AdmissionSample(memoryBytes: 1 << 40)).shared == nil)
        policy = Self.policy { $0.memoryBytesMax = 1000 << 20 }
        for (used, expected) in [(1001, AdmissionRefusal.memory), (901, .memory), (900, nil), (1000, nil)] {
            #expect(policy.update(AdmissionSample(memoryBytes: used << 20)).shared == expected, "\(used) MiB")
        }
    }

    // MARK: The queue

    @Test func `a single app has the whole queue, and is admitted again at nine tenths`() {
        var policy = Self.policy()
        let steps: [(Int, AdmissionRefusal?)] = [
            (5_000_000, nil), (5_000_001, .queue), (4_900_000, .queue), (4_500_001, .queue), (4_500_000, nil),
            (4_999_999, nil),
        ]
        for (pushes, expected) in steps {
            let decision = policy.update(Self.queued(pushes))
            #expect(decision.apps == [expected] && decision.allApps == expected, "\(pushes)")
        }
    }

    @Test func `an app that fills the queue is refused, and leaves a fifth of it to the next app`() {
        var policy = Self.policy(2) { $0.queuedPushesMax = 1000 }
        // 50 are reserved for each. The first app may use 4 times the rest of the pool of 900: 720, which leaves 180.
        #expect(policy.update(Self.queued(770, 0)).apps == [nil, nil])
        #expect(policy.update(Self.queued(771, 0)).apps == [.queue, nil])
        // Of these 180 the second app may use 144.
        #expect(policy.update(Self.queued(771, 193)).apps == [.queue, nil])
        #expect(policy.update(Self.queued(771, 194)).apps == [.queue, .queue])
        #expect(policy.update(Self.queued(0, 194)).apps == [nil, nil])
    }

    @Test func `an app within its reserve is not refused for the queues of others`() {
        var policy = Self.policy(4) { $0.queuedPushesMax = 1000 }
        let decision = policy.update(Self.queued(1_000_000, 25, 0, 26))
        #expect(decision.apps == [.queue, nil, nil, .queue])
        #expect(decision.allApps == nil)
        #expect(policy.update(Self.queued(1_000_000, 26, 26, 26)).allApps == .queue, "all have more than their reserve")
        // The pool is still full, but an app that returns to its reserve is admitted.
        #expect(policy.update(Self.queued(1_000_000, 25, 24, 26)).apps == [.queue, nil, nil, .queue])
    }

    @Test func `apps that grow together get equal parts`() {
        var policy = Self.policy(3) { $0.queuedPushesMax = 3000 }
        var queued = 0
        while policy.update(Self.queued(queued, queued, queued)).apps == [nil, nil, nil] { queued += 1 }
        #expect(policy.update(Self.queued(queued, queued, queued)).apps == [.queue, .queue, .queue])
        #expect((900...1000).contains(queued), "\(queued)")
    }

    @Test func `pushes of an app that is no longer configured use capacity`() {
        var policy = Self.policy { $0.queuedPushesMax = 1000 }
        var sample = Self.queued(500)
        sample.apps?[AppID("gone")] = AppLoad(queuedPushes: 500)
        #expect(policy.update(sample).apps == [nil])
        sample.apps?[AppID("gone")] = AppLoad(queuedPushes: 501)
        #expect(policy.update(sample).apps == [.queue])
    }

    /// Apps add and send pushes at random, and some send none. Each is admitted by the decision on the last sample.
    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `the total stays within the limit, and every reserve is available`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let count = Int.random(in: 1...30, using: &generator)
        let apps = (0..<count).map { AppID("app-\($0)") }
        let (limit, step) = (10_000, 50)
        var limits = AdmissionLimits()
        limits.queuedPushesMax = limit
        var policy = AdmissionPolicy(limits: limits, apps: apps)
        let reserve = Double(limit) / 10 / Double(count)
        var queued = [Int](repeating: 0, count: count)
        var highest = 0
        for _ in 0..<3000 {
            let loads = zip(apps, queued).map { ($0, AppLoad(queuedPushes: $1)) }
            let decision = policy.update(AdmissionSample(apps: Dictionary(uniqueKeysWithValues: loads)))
            for index in 0..<count where Double(queued[index]) <= reserve {
                #expect(decision.apps[index] == nil, "\(queued), \(index)")
            }
            let index = Int.random(in: 0..<count, using: &generator)
            if decision.apps[index] == nil { queued[index] += Int.random(in: 1...step, using: &generator) }
            let other = Int.random(in: 0..<count, using: &generator)
            // The first third of the apps is paused.
            if other > count / 3 { queued[other] = max(0, queued[other] - Int.random(in: 0...10, using: &generator)) }
            highest = max(highest, queued.reduce(0, +))
        }
        // Each app may exceed a bound by one step.
        #expect(highest <= limit + step * count, "\(highest) with \(count) apps")
    }

    // MARK: Age

    @Test func `an app is refused for its own age only`() {
        var policy = Self.policy(2) { $0.oldestDueMax = .seconds(60) }
        func decision(_ ages: Duration?...) -> [AdmissionRefusal?] {
            let loads = ages.map { AppLoad(queuedPushes: 1, oldestDue: $0) }
            return policy.update(AdmissionSample(apps: Dictionary(uniqueKeysWithValues: zip(Self.apps, loads)))).apps
        }
        #expect(decision(.seconds(60), nil) == [nil, nil])
        #expect(decision(.seconds(61), nil) == [.age, nil])
        #expect(decision(.seconds(55), .seconds(59)) == [.age, nil])
        #expect(decision(.seconds(54), .seconds(61)) == [nil, .age])
        #expect(decision(nil, nil) == [nil, nil])
        policy = Self.policy(2)
        #expect(decision(.seconds(86_400), nil) == [nil, nil], "without a limit")
    }

    @Test(arguments: DeliveryDelay.Reason.allCases)
    func `the age of paused pushes and of refused credentials is ignored`(reason: DeliveryDelay.Reason) {
        var policy = Self.policy { $0.oldestDueMax = .seconds(60) }
        let load = AppLoad(queuedPushes: 1, oldestDue: .seconds(3600), delay: reason)
        let refusal = policy.update(AdmissionSample(apps: [Self.apps[0]: load])).apps[0]
        #expect(refusal == (reason == .paused || reason == .credentialRefused ? nil : .age))
    }

    // MARK: Combinations

    @Test func `an unknown value keeps its state, and the most severe reason is reported`() {
        var policy = Self.policy()
        #expect(policy.update(Self.queued(6_000_000)).allApps == .queue)
        #expect(policy.update(AdmissionSample()).allApps == .queue)
        #expect(policy.update(AdmissionSample(bytesFree: 0)).allApps == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: 1 << 40)).allApps == .queue)
        #expect(policy.update(AdmissionSample(apps: [:])).allApps == nil)
    }

    @Test func `without limits every app is admitted`() {
        var policy = Self.policy {
            $0.queuedPushesMax = nil
            $0.bytesFreeMin = nil
        }
        let sample = AdmissionSample(apps: [Self.apps[0]: AppLoad(queuedPushes: 1 << 40)], bytesFree: 0)
        #expect(policy.update(sample).allApps == nil)
    }

    @Test func `invalid limits are reported`() {
        var limits = AdmissionLimits()
        #expect(limits.problems().isEmpty)
        limits.queuedPushesMax = 0
        limits.bytesFreeMin = -1
        limits.oldestDueMax = .zero
        limits.memoryBytesMax = 1
        #expect(limits.problems().count == 4)
    }
}
