import APNSWire
import Logging
import PushModel
import PushOutcome
import PushStore
import Synchronization
import Testing

@Suite struct `What the log is told of pushes that came to nothing` {
    private static let app = AppID("tea")
    private static let bad = OutcomeCounts.Key(
        app: app, verdict: .rejected, code: .badDeviceToken, reason: .badDeviceToken)
    private static let dead = OutcomeCounts.Key(app: app, verdict: .givenUp, code: .poison)

    @Test func `the first is told at once, the next ones together a minute later`() {
        var digest = FailureSummary()
        var tally = OutcomeCounts()
        var told: [[FailureSummary.Entry]] = []
        for second in 0...121 {
            if second % 10 == 0 { tally.add(5, to: Self.bad) }
            let entries = digest.look(tally, now: .seconds(second))
            if !entries.isEmpty { told.append(entries) }
        }
        let wanted = [5, 30, 30].map { [FailureSummary.Entry(key: Self.bad, pushes: $0)] }
        #expect(told == wanted)
        // The end does not wait for the minute.
        tally.add(1, to: Self.bad)
        let last = digest.look(tally, isLast: true, now: .seconds(122))
        #expect(last == [FailureSummary.Entry(key: Self.bad, pushes: 1)])
        let again = digest.look(tally, isLast: true, now: .seconds(123))
        #expect(again.isEmpty)
    }

    @Test func `each reason has its own line, and what went as it should has none`() {
        var tally = OutcomeCounts()
        tally.add(100, to: .init(app: Self.app, verdict: .delivered, code: .none))
        tally.add(10, to: .init(app: Self.app, verdict: .cancelled, code: .cancelled))
        tally.add(2, to: Self.dead)
        tally.add(1, to: Self.bad)
        var digest = FailureSummary()
        let entries = digest.look(tally, now: .zero)
        #expect(
            entries == [
                FailureSummary.Entry(key: Self.bad, pushes: 1), FailureSummary.Entry(key: Self.dead, pushes: 2),
            ])
    }

    @Test func `neighbours that ended alike are counted in one step`() {
        var outcomes = (0..<4).map { Outcome(index: $0, verdict: .delivered, code: .none, attempts: 1) }
        for (index, reason) in [(UInt16(4), "Odd"), (5, "Odder")] {
            outcomes.append(
                Outcome(index: index, verdict: .rejected, code: .requestRefused, attempts: 1, reason: .verbatim(reason))
            )
        }
        var runs: [Int] = []
        var tally = OutcomeCounts()
        OutcomeCounts.runs(of: outcomes, app: Self.app) {
            runs.append($1)
            tally.add($1, to: $0)
        }
        #expect(runs == [4, 1, 1])
        // A reason that the table does not know adds no entry of its own.
        let unknown = OutcomeCounts.Key(app: Self.app, verdict: .rejected, code: .requestRefused, reason: .unknown)
        #expect(tally.counts[unknown] == 2)
        #expect(tally.counts.count == 2)
    }
}
