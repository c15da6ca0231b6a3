import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

private let unavailable = APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable)

@Suite struct `Resends` {
    /// First sends and resends in steps of 250 ms.
    private struct Log {
        var firsts: [Int] = []
        var resends: [Int] = []
        private var sent: Set<PushID> = []

        mutating func count(_ push: PushID) {
            if sent.insert(push).inserted { firsts[firsts.count - 1] += 1 } else { resends[resends.count - 1] += 1 }
        }

        mutating func startStep() {
            firsts.append(0)
            resends.append(0)
        }
    }

    @Test(arguments: [30, 50, 70, 90], [APNSAnswer.Disposition.answered, .ambiguous])
    func `stay within the budget in a partial outage, counted attempts or not`(
        _ percent: Int, _ disposition: APNSAnswer.Disposition
    ) {
        let harness = DispatchHarness()
        var generator = SeededGenerator(seed: UInt64(percent))
        var log = Log()
        harness.answerPush = { send, index in
            log.count(send.lease.batch.push(Int(index)))
            guard generator.nextUnit() * 100 < Double(percent) else { return .accepted }
            return disposition == .answered ? unavailable : .failed(.deadlineExceeded, .ambiguous)
        }
        for _ in 0..<480 {
            log.startStep()
            harness.flow(40, for: .milliseconds(250))
        }
        var opened = 0
        for case .endpointBreakerChanged(_, .open, _) in harness.events { opened += 1 }
        if percent >= 70 { #expect(opened > 0, "attempts that are not counted") }
        for start in 0...360 {
            let firsts = log.firsts[start..<start + 120].reduce(0, +)
            let resends = log.resends[start..<start + 120].reduce(0, +)
            #expect(Double(resends) <= 0.1 * Double(firsts) + 300, "\(resends) resends, \(firsts) first sends")
        }
        #expect(log.resends.reduce(0, +) > 300, "the budget is used")
    }

    @Test(arguments: [ErrorCode.apnsUnavailable, .apnsInternalError, .apnsShutdown, .notAPNs, .unanswered, .goAway])
    func `need the budget although the attempt before was not counted, unless it did not reach APNs`(_ code: ErrorCode)
    {
        let harness = DispatchHarness()
        harness.claim()
        harness.handOver(claimed(500).batch, dueIn: Array(repeating: .zero, count: 500), code: code)
        #expect(harness.sent() == (code == .goAway ? 500 : 100))
    }

    @Test func `of a push that ends every connection wait ever longer while others are delivered`() {
        let harness = DispatchHarness()
        let bad = harness.addNew(1)
        var sends: [Duration] = []
        harness.answer = { [unowned harness] send in
            guard send.batch.firstID == bad.value else { return .accepted }
            sends.append(harness.now.monotonic)
            return .failed(.goAway, .refused)
        }
        harness.flow(4, for: .seconds(600))
        #expect(harness.status(bad).state == .retrying && harness.status(bad).attempts == 0)
        #expect((12...28).contains(sends.count), "\(sends.count) sends in ten minutes")
        let waits = zip(sends, sends.dropFirst()).map { $1 - $0 }
        #expect(waits.suffix(5).allSatisfy { $0 >= .seconds(30) && $0 <= .seconds(61) }, "\(waits)")
        #expect(harness.pushes == 1)
    }
}
