import APNSWire
import Logging
import PushModel
import PushOutcome
import PushStore
import Synchronization
import Testing

@Suite struct `Failure summary` {
    private static let app = AppID("tea")
    private static let rejected = OutcomeCounts.Key(
        app: app, verdict: .rejected, code: .badDeviceToken, reason: .badDeviceToken)
    private static let givenUp = OutcomeCounts.Key(app: app, verdict: .givenUp, code: .poison)

    @Test func `the first failure is reported immediately, later ones together once per minute`() {
        var summary = FailureSummary()
        var counts = OutcomeCounts()
        var reported: [[FailureSummary.Entry]] = []
        for second in 0...121 {
            if second % 10 == 0 { counts.add(5, to: Self.rejected) }
            let entries = summary.update(counts, now: .seconds(second))
            if !entries.isEmpty { reported.append(entries) }
        }
        let expected = [5, 30, 30].map { [FailureSummary.Entry(key: Self.rejected, pushes: $0)] }
        #expect(reported == expected)
        // The final report does not wait for the minute.
        counts.add(1, to: Self.rejected)
        let last = summary.update(counts, isFinal: true, now: .seconds(122))
        #expect(last == [FailureSummary.Entry(key: Self.rejected, pushes: 1)])
        let afterLast = summary.update(counts, isFinal: true, now: .seconds(123))
        #expect(afterLast.isEmpty)
    }

    @Test func `each reason has an entry, and deliveries and cancellations have none`() {
        var counts = OutcomeCounts()
        counts.add(100, to: .init(app: Self.app, verdict: .delivered, code: .none))
        counts.add(10, to: .init(app: Self.app, verdict: .cancelled, code: .cancelled))
        counts.add(2, to: Self.givenUp)
        counts.add(1, to: Self.rejected)
        var summary = FailureSummary()
        let entries = summary.update(counts, now: .zero)
        #expect(
            entries == [
                FailureSummary.Entry(key: Self.rejected, pushes: 1), FailureSummary.Entry(key: Self.givenUp, pushes: 2),
            ])
    }

    @Test func `adjacent pushes with equal outcomes are counted in one run`() {
        var outcomes = (0..<4).map { Outcome(index: $0, verdict: .delivered, code: .none, attempts: 1) }
        for (index, reason) in [(UInt16(4), "Odd"), (5, "Odder")] {
            outcomes.append(
                Outcome(index: index, verdict: .rejected, code: .requestRefused, attempts: 1, reason: .verbatim(reason))
            )
        }
        var runs: [Int] = []
        var counts = OutcomeCounts()
        OutcomeCounts.runs(of: outcomes, app: Self.app) {
            runs.append($1)
            counts.add($1, to: $0)
        }
        #expect(runs == [4, 1, 1])
        // Unknown reasons share one entry.
        let unknown = OutcomeCounts.Key(app: Self.app, verdict: .rejected, code: .requestRefused, reason: .unknown)
        #expect(counts.counts[unknown] == 2)
        #expect(counts.counts.count == 2)
    }
}
