import PushModel
import Testing

@Suite struct `Admission` {
    private static func policy(_ change: (inout AdmissionLimits) -> Void = { _ in }) -> AdmissionPolicy {
        var limits = AdmissionLimits()
        change(&limits)
        return AdmissionPolicy(limits: limits)
    }

    @Test func `a full queue closes, and opens again at nine tenths`() {
        var policy = Self.policy()
        let steps: [(Int, AdmissionRefusal?)] = [
            (5_000_000, nil), (5_000_001, .queue), (4_900_000, .queue), (4_500_001, .queue), (4_500_000, nil),
            (4_999_999, nil),
        ]
        for (pushes, expected) in steps {
            let refusal = policy.update(AdmissionSample(queuedPushes: pushes))
            #expect(refusal == expected, "\(pushes)")
        }
    }

    @Test func `a full disk closes, and opens again at 64 MiB more`() {
        var policy = Self.policy()
        let mebibyte = 1024 * 1024
        let steps: [(Int, AdmissionRefusal?)] = [
            (256, nil), (255, .disk), (256, .disk), (319, .disk), (320, nil), (256, nil),
        ]
        for (free, expected) in steps {
            let refusal = policy.update(AdmissionSample(bytesFree: free * mebibyte))
            #expect(refusal == expected, "\(free) MiB")
        }
    }

    @Test(arguments: [(8, 7, 10), (100, 99, 125), (1024, 1023, 1088)])
    func `the margin of a small limit is small, so that a small disk opens again`(limit: Int, short: Int, open: Int) {
        var policy = Self.policy { $0.bytesFreeMin = limit << 20 }
        #expect(policy.update(AdmissionSample(bytesFree: short << 20)) == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: (open << 20) - 1)) == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: open << 20)) == nil)
    }

    @Test func `age and memory count when they have a limit`() {
        var policy = Self.policy()
        let sample = AdmissionSample(oldestDue: .seconds(86_400), memoryBytes: 1 << 40)
        #expect(policy.update(sample) == nil)
        policy = Self.policy {
            $0.oldestDueMax = .seconds(60)
            $0.memoryBytesMax = 1 << 30
        }
        #expect(policy.update(AdmissionSample(oldestDue: .seconds(61))) == .age)
        #expect(policy.update(AdmissionSample(oldestDue: .seconds(55))) == .age)
        #expect(policy.update(AdmissionSample(oldestDue: .seconds(54))) == nil)
        #expect(policy.update(AdmissionSample(memoryBytes: 1 << 31)) == .memory)
        #expect(policy.update(AdmissionSample(memoryBytes: 1 << 29)) == nil)
    }

    @Test func `what is not known stays as it was, and the gravest is told`() {
        var policy = Self.policy()
        #expect(policy.update(AdmissionSample(queuedPushes: 6_000_000)) == .queue)
        #expect(policy.update(AdmissionSample()) == .queue)
        #expect(policy.update(AdmissionSample(bytesFree: 0)) == .disk)
        #expect(policy.update(AdmissionSample(bytesFree: 1 << 40)) == .queue)
        #expect(policy.update(AdmissionSample(queuedPushes: 0)) == nil)
    }

    @Test func `nothing is short without limits`() {
        var policy = Self.policy {
            $0.queuedPushesMax = nil
            $0.bytesFreeMin = nil
        }
        #expect(policy.update(AdmissionSample(queuedPushes: .max, bytesFree: 0)) == nil)
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
