import PushModel
import Testing

@Suite struct `Admission` {
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

    // MARK: What is everybody's

    @Test func `a full disk closes, and opens again at 64 MiB more`() {
        var policy = Self.policy()
        let mebibyte = 1024 * 1024
        let steps: [(Int, AdmissionRefusal?)] = [
            (256, nil), (255, .disk), (256, .disk), (319, .disk), (320, nil), (256, nil),
        ]
        for (free, expected) in steps {
            let verdict = policy.update(AdmissionSample(bytesFree: free * mebibyte))
            #expect(verdict.everyone == expected, "\(free) MiB")
        }
    }

    @Test(arguments: [(8, 7, 10), (100, 99, 125), (1024, 1023, 1088)])
    func `the margin of a small limit is small, so that a small disk opens again`(limit: Int, short: Int, open: Int) {
        var policy = Self.policy { $0.bytesFreeMin = limit << 20 }
        #expect(policy.update(AdmissionSample(bytesFree: short << 20)).everyone == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: (open << 20) - 1)).everyone == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: open << 20)).everyone == nil)
    }

    @Test func `memory counts when it has a limit`() {
        var policy = Self.policy()
        #expect(policy.update(AdmissionSample(memoryBytes: 1 << 40)).everyone == nil)
        policy = Self.policy { $0.memoryBytesMax = 1000 << 20 }
        for (used, expected) in [(1001, AdmissionRefusal.memory), (901, .memory), (900, nil), (1000, nil)] {
            #expect(policy.update(AdmissionSample(memoryBytes: used << 20)).everyone == expected, "\(used) MiB")
        }
    }

    // MARK: The queue

    @Test func `who is alone has all of the queue, and comes in again at nine tenths`() {
        var policy = Self.policy()
        let steps: [(Int, AdmissionRefusal?)] = [
            (5_000_000, nil), (5_000_001, .queue), (4_900_000, .queue), (4_500_001, .queue), (4_500_000, nil),
            (4_999_999, nil),
        ]
        for (pushes, expected) in steps {
            let verdict = policy.update(Self.queued(pushes))
            #expect(verdict.apps == [expected] && verdict.unread == expected, "\(pushes)")
        }
    }

    @Test func `whoever fills the queue is refused, and leaves a fifth of it to the next`() {
        var policy = Self.policy(2) { $0.queuedPushesMax = 1000 }
        // 50 are reserved for each. Beyond them the first may have 4 times what is left of 900: 720 and 180.
        #expect(policy.update(Self.queued(770, 0)).apps == [nil, nil])
        #expect(policy.update(Self.queued(771, 0)).apps == [.queue, nil])
        // The second finds 180, of which it may have 144.
        #expect(policy.update(Self.queued(771, 193)).apps == [.queue, nil])
        #expect(policy.update(Self.queued(771, 194)).apps == [.queue, .queue])
        #expect(policy.update(Self.queued(0, 194)).apps == [nil, nil])
    }

    @Test func `within its reserve nobody is refused for the queues of others`() {
        var policy = Self.policy(4) { $0.queuedPushesMax = 1000 }
        let verdict = policy.update(Self.queued(1_000_000, 25, 0, 26))
        #expect(verdict.apps == [.queue, nil, nil, .queue])
        #expect(verdict.unread == nil)
        #expect(policy.update(Self.queued(1_000_000, 26, 26, 26)).unread == .queue, "all have more than their reserve")
        // Nothing has become free; who is back within the reserve comes in all the same.
        #expect(policy.update(Self.queued(1_000_000, 25, 24, 26)).apps == [.queue, nil, nil, .queue])
    }

    @Test func `apps that grow together get equal parts`() {
        var policy = Self.policy(3) { $0.queuedPushesMax = 3000 }
        var queued = 0
        while policy.update(Self.queued(queued, queued, queued)).apps == [nil, nil, nil] { queued += 1 }
        #expect(policy.update(Self.queued(queued, queued, queued)).apps == [.queue, .queue, .queue])
        #expect((900...1000).contains(queued), "\(queued)")
    }

    @Test func `pushes of an app that is not configured any more take room`() {
        var policy = Self.policy { $0.queuedPushesMax = 1000 }
        var sample = Self.queued(500)
        sample.apps?[AppID("gone")] = AppLoad(queuedPushes: 500)
        #expect(policy.update(sample).apps == [nil])
        sample.apps?[AppID("gone")] = AppLoad(queuedPushes: 501)
        #expect(policy.update(sample).apps == [.queue])
    }

    /// Apps come and go at random, some never send anything off; each is let in as the last look said.
    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `the whole stays within the limit, and the reserve is sure`(seed: UInt64) {
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
            let verdict = policy.update(AdmissionSample(apps: Dictionary(uniqueKeysWithValues: loads)))
            for index in 0..<count where Double(queued[index]) <= reserve {
                #expect(verdict.apps[index] == nil, "\(queued), \(index)")
            }
            let index = Int.random(in: 0..<count, using: &generator)
            if verdict.apps[index] == nil { queued[index] += Int.random(in: 1...step, using: &generator) }
            let other = Int.random(in: 0..<count, using: &generator)
            // The first third is paused for ever.
            if other > count / 3 { queued[other] = max(0, queued[other] - Int.random(in: 0...10, using: &generator)) }
            highest = max(highest, queued.reduce(0, +))
        }
        // Each may come over a bound by one step.
        #expect(highest <= limit + step * count, "\(highest) with \(count) apps")
    }

    // MARK: Age

    @Test func `an app is refused for its own age only`() {
        var policy = Self.policy(2) { $0.oldestDueMax = .seconds(60) }
        func verdict(_ ages: Duration?...) -> [AdmissionRefusal?] {
            let loads = ages.map { AppLoad(queuedPushes: 1, oldestDue: $0) }
            return policy.update(AdmissionSample(apps: Dictionary(uniqueKeysWithValues: zip(Self.apps, loads)))).apps
        }
        #expect(verdict(.seconds(60), nil) == [nil, nil])
        #expect(verdict(.seconds(61), nil) == [.age, nil])
        #expect(verdict(.seconds(55), .seconds(59)) == [.age, nil])
        #expect(verdict(.seconds(54), .seconds(61)) == [nil, .age])
        #expect(verdict(nil, nil) == [nil, nil])
        policy = Self.policy(2)
        #expect(verdict(.seconds(86_400), nil) == [nil, nil], "without a limit")
    }

    @Test(arguments: DeliveryDelay.Reason.allCases)
    func `what waits because it was told to says nothing by its age`(reason: DeliveryDelay.Reason) {
        var policy = Self.policy { $0.oldestDueMax = .seconds(60) }
        let load = AppLoad(queuedPushes: 1, oldestDue: .seconds(3600), delay: reason)
        let refusal = policy.update(AdmissionSample(apps: [Self.apps[0]: load])).apps[0]
        #expect(refusal == (reason == .paused || reason == .credentialRefused ? nil : .age))
    }

    // MARK: All of it

    @Test func `what is not known stays as it was, and the gravest is told`() {
        var policy = Self.policy()
        #expect(policy.update(Self.queued(6_000_000)).unread == .queue)
        #expect(policy.update(AdmissionSample()).unread == .queue)
        #expect(policy.update(AdmissionSample(bytesFree: 0)).unread == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: 1 << 40)).unread == .queue)
        #expect(policy.update(AdmissionSample(apps: [:])).unread == nil)
    }

    @Test func `nothing is short without limits`() {
        var policy = Self.policy {
            $0.queuedPushesMax = nil
            $0.bytesFreeMin = nil
        }
        let sample = AdmissionSample(apps: [Self.apps[0]: AppLoad(queuedPushes: 1 << 40)], bytesFree: 0)
        #expect(policy.update(sample).unread == nil)
    }

    @Test func `limits without sense are named`() {
        var limits = AdmissionLimits()
        #expect(limits.problems().isEmpty)
        limits.queuedPushesMax = 0
        limits.bytesFreeMin = -1
        limits.oldestDueMax = .zero
        limits.memoryBytesMax = 1
        #expect(limits.problems().count == 4)
    }
}
