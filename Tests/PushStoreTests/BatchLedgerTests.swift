import PushModel
import PushStore
import Testing

@Suite struct `The ledger of a batch` {
    private let now = Samples.now

    private func update(_ outcomes: [Int] = [], retries: [Retry] = []) -> BatchUpdate {
        BatchUpdate(at: now, outcomes: outcomes.map { Samples.outcome($0) }, retries: retries)
    }

    @Test func `starts with everything unsettled and due`() {
        let ledger = BatchLedger(count: 3, acceptedAt: now)
        #expect(ledger.unsettled == 3)
        #expect(!ledger.isFinished)
        #expect(ledger.nextDue == now)
        #expect(ledger.pending(until: now).map(\.index) == [0, 1, 2])
        #expect(ledger.pending(until: WallTime(milliseconds: now.milliseconds - 1)).isEmpty)
    }

    @Test(arguments: [1, 63, 64, 65, 999, 1000])
    func `is finished when every push has an outcome`(count: Int) {
        var ledger = BatchLedger(count: count, acceptedAt: now)
        var all = update(Array(0..<count))
        ledger.record(&all)
        #expect(all.outcomes.count == count)
        #expect(ledger.isFinished)
        #expect(ledger.nextDue == .distantFuture)
        #expect(ledger.pending(until: .distantFuture).isEmpty)
    }

    @Test func `keeps the first outcome of each push`() {
        var ledger = BatchLedger(count: 4, acceptedAt: now)
        var first = update([1, 1, 2])
        ledger.record(&first)
        #expect(first.outcomes.map(\.index) == [1, 2])
        var second = update([2, 3])
        ledger.record(&second)
        #expect(second.outcomes.map(\.index) == [3])
        #expect(ledger.unsettled == 1)
        #expect(!ledger.isSettled(0) && ledger.isSettled(1) && ledger.isSettled(2) && ledger.isSettled(3))
    }

    @Test func `drops a retry of a push that is settled before or by the same update`() {
        var ledger = BatchLedger(count: 3, acceptedAt: now)
        var first = update([0])
        ledger.record(&first)
        var second = update([1], retries: [0, 1, 2].map { Samples.retry($0, due: now + .seconds(9)) })
        ledger.record(&second)
        #expect(second.retries.map(\.index) == [2])
        #expect(ledger.nextDue == now + .seconds(9))
    }

    @Test func `is due when the first unsettled push is`() {
        var ledger = BatchLedger(count: 3, acceptedAt: now)
        var some = update(retries: [
            Samples.retry(0, attempts: 1, due: now + .seconds(5)),
            Samples.retry(1, attempts: 2, due: now + .seconds(9)),
        ])
        ledger.record(&some)
        #expect(ledger.nextDue == now, "a push without a retry is due immediately")
        var more = update([2])
        ledger.record(&more)
        #expect(ledger.nextDue == now + .seconds(5))
        #expect(ledger.pending(until: now).isEmpty)
        #expect(
            ledger.pending(until: now + .seconds(6)) == [
                PendingPush(index: 0, attempts: 1, due: now + .seconds(5), code: .apnsUnavailable)
            ]
        )
        var last = update([0])
        ledger.record(&last)
        #expect(ledger.nextDue == now + .seconds(9))
    }

    @Test func `gives up only the unsettled pushes of an unreadable batch`() {
        var ledger = BatchLedger(count: 3, acceptedAt: now)
        var some = update([1], retries: [Samples.retry(2, attempts: 7, due: now)])
        ledger.record(&some)
        let ends = ledger.givenUp(.serialisation)
        #expect(ends.map(\.index) == [0, 2])
        #expect(ends.map(\.attempts) == [0, 7])
        #expect(ends.allSatisfy { $0.verdict == .givenUp && $0.code == .serialisation })
    }

    @Test func `reopens replayed pushes, and only settled ones`() {
        var ledger = BatchLedger(count: 3, acceptedAt: now)
        var some = update([0, 1, 2])
        ledger.record(&some)
        let later = now + .seconds(60)
        var replay = BatchUpdate(at: later, replays: [1, 1, 2])
        ledger.record(&replay)
        #expect(replay.replays == [1, 2])
        #expect(ledger.unsettled == 2 && ledger.isSettled(0) && !ledger.isSettled(1))
        #expect(ledger.nextDue == later)
        #expect(ledger.pending(until: now).isEmpty)
        #expect(ledger.pending(until: later).map(\.attempts) == [0, 0])
        var ends = update([1, 2])
        ledger.record(&ends)
        #expect(ends.outcomes.count == 2 && ledger.isFinished)
    }

    @Test func `marks announced pushes until an outcome or retry is recorded`() {
        var ledger = BatchLedger(count: 4, acceptedAt: now)
        var some = update([0])
        ledger.record(&some)
        var sends = BatchUpdate(at: now, sends: [0, 1, 2])
        ledger.record(&sends)
        #expect(sends.sends == [1, 2], "a settled push is not announced")
        #expect(ledger.pending(until: now).map(\.isUnanswered) == [true, true, false])
        var retry = BatchUpdate(at: now, retries: [Samples.retry(1, attempts: 0, due: now)], sends: [3])
        ledger.record(&retry)
        #expect(ledger.pending(until: now).map(\.isUnanswered) == [false, true, true])
        // An announcement and its reversal in one update cancel each other out.
        var both = BatchUpdate(at: now, retries: [Samples.retry(2, attempts: 0, due: now)], sends: [2])
        ledger.record(&both)
        #expect(ledger.pending(until: now).map(\.isUnanswered) == [false, false, true])
    }

    @Test func `resets the attempts of replayed pushes`() {
        var ledger = BatchLedger(count: 1, acceptedAt: now)
        var some = update(retries: [Samples.retry(0, attempts: 49, due: now)])
        ledger.record(&some)
        #expect(ledger.attempts(of: 0) == 49)
        var end = update([0])
        ledger.record(&end)
        var replay = BatchUpdate(at: now, replays: [0])
        ledger.record(&replay)
        #expect(ledger.attempts(of: 0) == 0)
    }
}
