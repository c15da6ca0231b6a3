import APNSWire
import Logging
import MemoryBackend
import PushConcurrency
import PushDispatch
import PushModel
import PushOutcome
import PushStore
import PushStoreConformance
import PushTesting
import Synchronization
import Testing

/// An APNs that gives the answers of a closure immediately.
final class ScriptedSender: APNSSender {
    struct Call: Sendable {
        var indexes: [UInt16]?
        var count: Int
    }

    let calls = Mutex<[Call]>([])
    let answer: @Sendable (UInt16) -> APNSAnswer?

    init(answer: @escaping @Sendable (UInt16) -> APNSAnswer?) {
        self.answer = answer
    }

    func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, timeouts: APNSSendTimeouts,
        to receiver: any APNSAnswerReceiver
    ) {
        calls.withLock { $0.append(Call(indexes: indexes, count: batch.count)) }
        var answers = APNSAnswers(ticket: ticket)
        for index in indexes ?? Array(0..<UInt16(batch.count)) {
            if let answer = answer(index) { answers.append(answer, of: index, latency: 1) }
        }
        answers.isLast = true
        receiver.receive(answers)
    }
}

/// An APNs that answers when the test says so.
private final class HeldSender: APNSSender {
    private let held = Mutex<[(answers: APNSAnswers, receiver: any APNSAnswerReceiver)]>([])

    var sends: Int { held.withLock { $0.count } }

    func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, timeouts: APNSSendTimeouts,
        to receiver: any APNSAnswerReceiver
    ) {
        var answers = APNSAnswers(ticket: ticket)
        for index in indexes ?? Array(0..<UInt16(batch.count)) { answers.append(.accepted, of: index, latency: 1) }
        answers.isLast = true
        held.withLock { $0.append((answers, receiver)) }
    }

    func answerAll() {
        for (answers, receiver) in held.withLock({ $0 }) { receiver.receive(answers) }
    }
}

@Suite struct Dispatching {
    @Test func `answers that come after the process was stopped for longer than a lease settle their pushes`()
        async throws
    {
        let clock = VirtualClock()
        let store = MemoryBackend(store: MemoryStore(clock: clock.queueClock))
        let recorder = OutcomeRecorder(queue: store, logger: Logger(label: "test"))
        let sender = HeldSender()
        let dispatcher = Dispatcher(
            queue: store, recorder: recorder, senders: [AppEnvironment(AppID("a")): sender],
            configuration: DispatchConfiguration(), clock: clock.queueClock, logger: Logger(label: "test")
        )
        let batches = [claimed(5), claimed(5, firstToken: 100)].map(\.batch)
        try await withThrowingTaskGroup(of: Void.self) { group in
            _ = try store.append([NewBatch(batch: batches[0])])
            group.addTask { try await dispatcher.run() }
            group.addTask { try await recorder.run(observer: dispatcher) }
            try await waitUntil("the first send") { sender.sends == 1 }
            clock.now = Moment(wall: clock.now.wall + .seconds(40), monotonic: clock.now.monotonic + .seconds(40))
            // Its send shows that there was a claim.
            _ = try store.append([NewBatch(batch: batches[1])])
            try await waitUntil("the second send") { sender.sends >= 2 }
            #expect(sender.sends == 2, "the first batch is not sent again")
            sender.answerAll()
            recorder.finish()
            try await waitUntil("the outcomes") { try store.depth().pushes == 0 }
            group.cancelAll()
            while let result = await group.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
        }
        #expect(dispatcher.counters.leasesLost.load(ordering: .relaxed) == 0)
        #expect(dispatcher.counters.lateAnswers.load(ordering: .relaxed) == 0)
        #expect(store.settled().counts.map(\.key.verdict) == [.delivered])
    }

    /// Runs a dispatcher that claims `batch` at `now`, and returns the first settlement that it writes.
    static func settlement(
        of batch: ClaimedBatch, by sender: ScriptedSender?, now: Int64 = 1_000_000, monotonic: Duration = .seconds(1)
    ) async throws -> Settlement {
        let sink = SettlementSink()
        sink.state.withLock { $0.claimable = [batch] }
        let recorder = OutcomeRecorder(queue: sink, logger: Logger(label: "test"))
        let dispatcher = Dispatcher(
            queue: sink, recorder: recorder, senders: sender.map { [AppEnvironment(AppID("a")): $0] } ?? [:],
            configuration: DispatchConfiguration(),
            clock: QueueClock(wall: { WallTime(milliseconds: now) }, monotonic: { monotonic }),
            logger: Logger(label: "test")
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await dispatcher.run() }
            group.addTask { try await recorder.run(observer: dispatcher) }
            await sink.wrote.wait()
            recorder.finish()
            group.cancelAll()
            while let result = await group.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
        }
        return try #require(sink.state.withLock { $0.writes.first?.first })
    }

    @Test func `each answer becomes an outcome or a retry according to the verdict table`() async throws {
        let sender = ScriptedSender { index in
            switch index {
            case 0: .accepted
            case 1:
                APNSAnswer(disposition: .answered, status: 410, reason: .unregistered, tokenInvalidAtMilliseconds: 77)
            case 2: APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable)
            case 3: .failed(.goAway, .refused)
            default: .failed(.connectionReset, .ambiguous)
            }
        }
        let settlement = try await Self.settlement(of: claimed(5), by: sender)
        #expect(settlement.outcomes.map(\.index) == [0, 1])
        #expect(settlement.outcomes.map(\.verdict) == [.delivered, .rejected])
        #expect(settlement.outcomes.map(\.code) == [.none, .notSubscribed])
        #expect(settlement.outcomes[1].tokenDeadAt == 77)
        #expect(settlement.outcomes.map(\.uniqueID) == [nil, nil])
        #expect(settlement.retries.map(\.index) == [2, 3, 4])
        #expect(settlement.retries.map(\.attempts) == [1, 0, 1], "a refused stream is no attempt")
        #expect(settlement.retries.map(\.code) == [.apnsUnavailable, .goAway, .connectionLost])
        #expect(settlement.release == .release)
    }

    @Test func `attempts before a restart count`() async throws {
        var batch = claimed(3)
        batch.pending = [PendingPush(index: 2, attempts: 7, due: WallTime(milliseconds: 0))]
        let sender = ScriptedSender { _ in .failed(.streamReset, .ambiguous) }
        let settlement = try await Self.settlement(of: batch, by: sender)
        #expect(sender.calls.withLock { $0.map(\.indexes) } == [[2]])
        #expect(settlement.retries.map(\.attempts) == [8])
    }

    @Test func `expired pushes are not sent`() async throws {
        let sender = ScriptedSender { _ in .accepted }
        let settlement = try await Self.settlement(of: claimed(2, expiration: 1_000), by: sender, now: 1_000_000)
        #expect(sender.calls.withLock { $0.isEmpty })
        #expect(settlement.outcomes.map(\.verdict) == [.expired, .expired])
        #expect(settlement.release == .release)
    }

    @Test func `pushes are sent before their expiration`() async throws {
        let sender = ScriptedSender { _ in .accepted }
        let settlement = try await Self.settlement(of: claimed(2, expiration: 1_000), by: sender, now: 999_999)
        #expect(settlement.outcomes.map(\.verdict) == [.delivered, .delivered])
    }

    @Test func `pushes of an app that is not configured wait and are not lost`() async throws {
        let settlement = try await Self.settlement(of: claimed(2), by: nil)
        #expect(settlement.outcomes.isEmpty)
        #expect(settlement.retries.map(\.code) == [.unknownApp, .unknownApp])
        #expect(settlement.retries.allSatisfy { $0.due > WallTime(milliseconds: 1_000_000) && $0.attempts == 0 })
    }

    @Test func `a broken store ends an idle dispatcher`() async {
        let sink = SettlementSink()
        sink.state.withLock { $0.claimFailure = .broken("sync failed") }
        let dispatcher = Dispatcher(
            queue: sink, recorder: OutcomeRecorder(queue: sink, logger: Logger(label: "test")), senders: [:],
            configuration: DispatchConfiguration(),
            clock: QueueClock(wall: { WallTime(milliseconds: 0) }, monotonic: { .zero }), logger: Logger(label: "test")
        )
        await #expect(throws: QueueError.broken("sync failed")) { try await dispatcher.run() }
    }

    @Test(arguments: [false, true])
    func `a cancellation in memory is durable before it is confirmed`(isStoreDown: Bool) async throws {
        let sink = SettlementSink()
        let (sent, waiting) = (claimed(5), claimed(7))
        sink.state.withLock { $0.claimable = [sent, waiting] }
        let recorder = OutcomeRecorder(queue: sink, logger: Logger(label: "test"))
        var configuration = DispatchConfiguration()
        configuration.limits.windowPerApp = 5
        let silent = ScriptedSender { _ in nil }
        let dispatcher = Dispatcher(
            queue: sink, recorder: recorder, senders: [AppEnvironment(AppID("a")): silent],
            configuration: configuration,
            clock: QueueClock(wall: { WallTime(milliseconds: 1_000_000) }, monotonic: { .zero }),
            logger: Logger(label: "test")
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await dispatcher.run() }
            try await waitUntil("the batches") { dispatcher.snapshot().pushesInMemory == 12 }
            if isStoreDown { sink.state.withLock { $0.failures = [.unavailable("down", isOutcomeKnown: false)] } }
            let ids = [sent, waiting].flatMap { claimed in (0..<5).map { claimed.batch.id.push($0) } }
            let taken = await dispatcher.cancel(ids: ids)
            #expect(taken == (isStoreDown ? [] : Set((0..<5).map { waiting.batch.id.push($0) })))
            #expect(sink.state.withLock { $0.writes.map { $0.map(\.lease) } } == (isStoreDown ? [] : [[waiting.lease]]))
            #expect(dispatcher.counters.cancelledInMemory.load(ordering: .relaxed) == taken.count)
            #expect(recorder.isIdle == !isStoreDown, "an unconfirmed cancellation is recorded later")
            let rest = await dispatcher.cancel(app: AppID("a"))
            #expect(rest == 2)
            group.cancelAll()
            while let result = await group.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
        }
    }
}
