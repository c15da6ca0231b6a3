import Logging
import PushConcurrency
import PushModel
import PushOutcome
import PushStore
import PushStoreConformance
import Synchronization
import Testing

final class ObserverLog: OutcomeObserver {
    let settledLeases = Mutex<[Lease]>([])
    let refusedLeases = Mutex<[Lease]>([])
    let announcedLeases = Mutex<[Lease]>([])
    func announced(_ leases: [Lease]) { announcedLeases.withLock { $0 += leases } }
    func settled(_ leases: [Lease]) { settledLeases.withLock { $0 += leases } }
    func refused(_ leases: [Lease]) { refusedLeases.withLock { $0 += leases } }
}

private func newLease() -> Lease {
    Lease(batch: BatchID.random(at: WallTime(milliseconds: 1_000_000)), epoch: 1)
}

@Suite struct `Outcome recorder` {
    static func outcome(_ index: UInt16) -> Outcome {
        Outcome(index: index, verdict: .delivered, code: .none, status: 200, attempts: 1)
    }

    static func recorder(_ sink: SettlementSink) -> OutcomeRecorder {
        var configuration = OutcomeRecorder.Configuration()
        configuration.retryPause = .milliseconds(1)
        return OutcomeRecorder(queue: sink, configuration: configuration, logger: Logger(label: "test"))
    }

    static func settlement(_ lease: Lease, _ indexes: [UInt16], _ release: Settlement.Release = .keep) -> Settlement {
        Settlement(lease: lease, outcomes: indexes.map(outcome), release: release, at: WallTime(milliseconds: 1))
    }

    @Test func `settlements of one batch are merged into one write, in order`() async throws {
        let sink = SettlementSink()
        let observer = ObserverLog()
        let recorder = Self.recorder(sink)
        let lease = newLease()
        recorder.record(Self.settlement(lease, [0, 1]))
        recorder.record(Self.settlement(lease, [3]))
        recorder.record(Self.settlement(lease, [2], .release))
        recorder.finish()
        try await recorder.run(observer: observer)
        let writes = sink.state.withLock { $0.writes }
        #expect(writes.count == 1)
        #expect(writes.first?.first?.outcomes.map(\.index) == [0, 1, 3, 2])
        #expect(writes.first?.first?.release == .release)
        #expect(observer.settledLeases.withLock { $0 } == [lease])
        #expect(recorder.isIdle)
    }

    @Test func `a failed write is repeated with the same settlements`() async throws {
        let sink = SettlementSink()
        sink.state.withLock {
            $0.failures = [
                .full("disk"), .unavailable("gone", isOutcomeKnown: false), .unavailable("x", isOutcomeKnown: true),
            ]
        }
        let recorder = Self.recorder(sink)
        let observer = ObserverLog()
        let lease = newLease()
        recorder.record(Self.settlement(lease, [0], .release))
        recorder.finish()
        try await recorder.run(observer: observer)
        #expect(sink.state.withLock { $0.writes.map { $0.map(\.lease) } } == [[lease]])
        #expect(observer.settledLeases.withLock { $0 } == [lease])
    }

    @Test func `a broken store ends the recorder`() async throws {
        let sink = SettlementSink()
        sink.state.withLock { $0.failures = [.broken("sync failed")] }
        let recorder = Self.recorder(sink)
        recorder.record(Self.settlement(newLease(), [0], .release))
        recorder.finish()
        await #expect(throws: QueueError.broken("sync failed")) { try await recorder.run(observer: ObserverLog()) }
    }

    @Test func `stale settlements are reported as refused and not as settled`() async throws {
        let sink = SettlementSink()
        let (mine, lost) = (newLease(), newLease())
        sink.state.withLock { $0.stale = [lost] }
        let recorder = Self.recorder(sink)
        let observer = ObserverLog()
        recorder.record(Self.settlement(mine, [0], .release))
        recorder.record(Self.settlement(lost, [0], .release))
        recorder.finish()
        try await recorder.run(observer: observer)
        #expect(observer.settledLeases.withLock { $0 } == [mine])
        #expect(observer.refusedLeases.withLock { $0 } == [lost])
    }

    @Test func `each write has a higher number, and a repeated one the same`() {
        var buffer = OutcomeBuffer()
        let (a, b) = (newLease(), newLease())
        buffer.record(Self.settlement(a, [0]))
        buffer.record(Self.settlement(b, [0]))
        #expect(buffer.beginWrite().map(\.number) == [1, 1])
        buffer.record(Self.settlement(a, [1]))
        #expect(buffer.beginWrite().map(\.number) == [1, 1], "the response was lost")
        _ = buffer.confirmWrite(stale: [])
        #expect(buffer.beginWrite().map(\.number) == [2])
    }

    @Test func `settlements recorded during a write wait for the next one`() {
        var buffer = OutcomeBuffer()
        let (a, b) = (newLease(), newLease())
        buffer.record(Self.settlement(a, [0]))
        var written = buffer.beginWrite()
        #expect(written.map(\.lease) == [a])
        buffer.record(Self.settlement(b, [0], .release))
        buffer.record(Self.settlement(a, [1], .release))
        written = buffer.beginWrite()
        #expect(written.map(\.outcomes) == [[Self.outcome(0)]], "the write was not confirmed and is repeated")
        var settled = buffer.confirmWrite(stale: []).ended
        #expect(settled.isEmpty, "the end was not in that write")
        written = buffer.beginWrite()
        #expect(written.map(\.lease) == [b, a])
        buffer.finish()
        #expect(!buffer.isDone)
        settled = buffer.confirmWrite(stale: [b]).ended
        #expect(settled == [a] && buffer.isDone)
    }

    @Test func `sends are announced after they are durable, unless the lease is lost`() {
        var buffer = OutcomeBuffer()
        let (a, b, c) = (newLease(), newLease(), newLease())
        for lease in [a, b] { buffer.record(Settlement(lease: lease, sends: [0, 1], at: WallTime(milliseconds: 1))) }
        buffer.record(Self.settlement(c, [0], .release))
        _ = buffer.beginWrite()
        let durable = buffer.confirmWrite(stale: [b])
        #expect(durable.announced == [a] && durable.ended == [c])
    }

    @Test func `a signal set before the wait is not missed`() async {
        let signal = AsyncSignal()
        signal.set()
        signal.set()
        await signal.wait()
        async let waiting: Void = signal.wait()
        signal.set()
        await waiting
    }
}
