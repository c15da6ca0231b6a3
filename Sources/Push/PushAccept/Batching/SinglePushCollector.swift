import APNSWire
import NIOCore
import PushConcurrency
package import PushModel
package import PushStore
import Synchronization

/// Collects the pushes of single-push requests into batches: adaptive group commit.
///
/// A single push is committed immediately, by the thread that adds it. Pushes that arrive during a commit form the next
/// batches, so under load one commit serves many requests. The end of a commit starts the next one and delivers the
/// results: the path of a push has no task, and each event loop is woken once per commit.
package final class SinglePushCollector: Sendable {
    /// The result of one push.
    package enum Result: Sendable, Equatable {
        /// `warnings` as in `BulkResults.Notes`.
        case accepted(PushID, at: WallTime, DeliveryDelay?, warnings: [UInt8])
        case failed(PushID, QueueError)
        /// Too many pushes wait already; the push was not added.
        case full
        case stopping
    }

    /// Receives the result of one push, exactly once.
    struct Receiver: Sendable {
        /// Where `receive` runs; nil: on any thread. It must not wait.
        let eventLoop: (any EventLoop)?
        let receive: @Sendable (Result) -> Void
    }

    private struct Entry {
        var batch: BatchBuilder
        /// Parallel to the pushes of the batch.
        var waiting: [(receiver: Receiver, warnings: [UInt8])] = []
        /// Requests with an `Idempotency-Key`, with the index of their push in the batch.
        var idempotent: [(push: Int, request: IdempotentRequest)] = []
    }

    private struct State {
        /// Full batches and open ones, in the order in which they were opened.
        var entries: [Entry] = []
        /// The indexes of the open batches.
        var open: [BatchKey: Int] = [:]
        var pushes = 0
        var isCommitting = false
        var isStopped = false

        mutating func takeAll() -> [Entry] {
            defer {
                entries = []
                open = [:]
                pushes = 0
            }
            return entries
        }
    }

    private let state = Mutex(State())
    /// Opened once the collector is stopped and the last commit is finished.
    private let isFinished = AsyncLatch()
    /// A copy of `State.pushes` that is read without the lock.
    private let waiting = Atomic<Int>(0)
    private let committer: BatchCommitter
    private let apps: AppDirectory
    private let pushesMax: Int
    private let batchPushesMax: Int

    /// - Parameter pushesMax: limit of pushes that wait for a commit.
    package init(committer: BatchCommitter, apps: AppDirectory, pushesMax: Int, batchPushesMax: Int) {
        self.committer = committer
        self.apps = apps
        self.pushesMax = pushesMax
        self.batchPushesMax = batchPushesMax
    }

    var now: WallTime { committer.now }

    /// The number of pushes that wait for the next commit.
    package var waitingCount: Int { waiting.load(ordering: .relaxed) }

    /// Whether the next push would be refused, so that its body need not be read.
    var isFull: Bool { waitingCount >= pushesMax }

    private enum Insertion {
        /// The entries to commit now, if no commit is in progress.
        case inserted([Entry])
        case refused(Result)
    }

    /// Adds the push that `parser` has just parsed from `bytes`. Never waits.
    ///
    /// - Parameters:
    ///   - request: its response is stored in the write that makes the push durable.
    ///   - warnings: for the response, as in `BulkResults.Notes`.
    /// - Returns: why the push was not added, and then `receiver` receives nothing; nil if it was.
    func add(
        _ push: ParsedPush, from bytes: UnsafeRawBufferPointer, by parser: PushParser,
        request: IdempotentRequest? = nil, warnings: [UInt8] = [], to receiver: Receiver
    ) -> Result? {
        let insertion = state.withLock { state in
            insert(push, from: bytes, by: parser, request, warnings, receiver, into: &state)
        }
        switch insertion {
        case .refused(let result): return result
        case .inserted(let entries):
            if !entries.isEmpty { commit(entries) }
            return nil
        }
    }

    private func insert(
        _ push: ParsedPush, from bytes: UnsafeRawBufferPointer, by parser: PushParser, _ request: IdempotentRequest?,
        _ warnings: [UInt8], _ receiver: Receiver, into state: inout State
    ) -> Insertion {
        if state.isStopped { return .refused(.stopping) }
        guard state.pushes < pushesMax else { return .refused(.full) }
        let key = BatchKey(push)
        let index: Int
        if let found = state.open[key] {
            index = found
        } else {
            index = state.entries.count
            state.entries.append(Entry(batch: BatchBuilder(key: key, id: committer.newBatchID())))
            state.open[key] = index
        }
        let pushIndex = state.entries[index].batch.append(push, from: bytes, by: parser)
        state.entries[index].waiting.append((receiver, warnings))
        if let request { state.entries[index].idempotent.append((pushIndex, request)) }
        state.pushes += 1
        if state.entries[index].batch.count >= batchPushesMax { state.open[key] = nil }
        guard !state.isCommitting else {
            waiting.store(state.pushes, ordering: .relaxed)
            return .inserted([])
        }
        state.isCommitting = true
        return .inserted(state.takeAll())
    }

    // MARK: Commits

    /// Commits what was added during the last commit.
    private func commitNext() {
        let entries: [Entry]? = state.withLock { state in
            waiting.store(0, ordering: .relaxed)
            guard state.entries.isEmpty else { return state.takeAll() }
            state.isCommitting = false
            return state.isStopped ? nil : []
        }
        guard let entries else { return isFinished.open() }
        if !entries.isEmpty { commit(entries) }
    }

    private func commit(_ entries: [Entry]) {
        let now = committer.now
        let batches = entries.map { $0.batch.closed(apps: apps, acceptedAt: now) }
        let delays = batches.map { committer.delay(of: $0) }
        var responses: [IdempotencyKey: IdempotencyRecord] = [:]
        for (entry, delay) in zip(entries, delays) {
            for (push, request) in entry.idempotent {
                let run = BulkResults.Run.accepted(
                    firstItem: 0, count: 1, batch: entry.batch.id, firstPush: push, at: now, delay,
                    notes: BulkResults.Notes(warnings: entry.waiting[push].warnings)
                )
                responses[request.key] = request.record(of: StoredResponse(format: .single, runs: [run]), at: now)
            }
        }
        committer.commit(batches, storing: responses) { error in
            // First the next commit, which the disk then works on while the results are delivered.
            if error == nil {
                self.commitNext()
            } else {
                // A store that refuses writes reports that within the call: a task keeps the calls from nesting.
                inBackground { self.commitNext() }
            }
            Self.deliver(entries, error, at: now, delays)
        }
    }

    private static func deliver(
        _ entries: [Entry], _ error: QueueError?, at now: WallTime, _ delays: [DeliveryDelay?]
    ) {
        typealias Delivery = (receive: @Sendable (Result) -> Void, result: Result)
        var loops: [(loop: any EventLoop, deliveries: [Delivery])] = []
        for (entry, delay) in zip(entries, delays) {
            for (push, (receiver, warnings)) in entry.waiting.enumerated() {
                let id = entry.batch.id.push(push)
                let result = error.map { Result.failed(id, $0) } ?? .accepted(id, at: now, delay, warnings: warnings)
                guard let loop = receiver.eventLoop else {
                    receiver.receive(result)
                    continue
                }
                // As many loops as cores.
                if let index = loops.firstIndex(where: { $0.loop === loop }) {
                    loops[index].deliveries.append((receiver.receive, result))
                } else {
                    loops.append((loop, [(receiver.receive, result)]))
                }
            }
        }
        for (loop, deliveries) in loops {
            loop.execute {
                for delivery in deliveries { delivery.receive(delivery.result) }
            }
        }
    }

    // MARK: The end

    /// Returns once `stop()` was called and the pushes added before are committed, or could not be.
    package func run() async { await isFinished.wait() }

    /// Refuses further pushes.
    package func stop() {
        let isIdle = state.withLock { state in
            state.isStopped = true
            return !state.isCommitting
        }
        if isIdle { isFinished.open() }
    }
}
