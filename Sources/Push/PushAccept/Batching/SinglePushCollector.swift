import APNSWire
import PushConcurrency
package import PushModel
package import PushStore
import Synchronization

/// Collects the pushes of single-push requests into batches: adaptive group commit.
///
/// A single push is committed immediately. Pushes that arrive during a commit form the next batches, so under load one
/// commit serves many requests. Nothing is committed unless `run()` is running.
package final class SinglePushCollector: Sendable {
    /// The result of one push.
    package enum Result: Sendable, Equatable {
        case accepted(PushID, at: WallTime, DeliveryDelay?)
        case failed(PushID, QueueError)
        /// Too many pushes wait already; the push was not added.
        case full
        case stopping
    }

    fileprivate enum Commit {
        case durable(acceptedAt: WallTime, DeliveryDelay?)
        case failed(QueueError)
    }

    /// The result of one batch, for all requests that wait for it.
    fileprivate final class Group: Sendable {
        private let commit = Mutex<Commit?>(nil)
        private let isDone = AsyncLatch()

        /// Waits until the batch is committed or has failed.
        func wait() async -> Commit {
            await isDone.wait()
            return commit.withLock { commit in
                guard let commit else { preconditionFailure("the latch is opened after the commit") }
                return commit
            }
        }

        func finish(_ result: Commit) {
            commit.withLock { commit in
                precondition(commit == nil, "a batch is committed once")
                commit = result
            }
            isDone.open()
        }
    }

    private struct Entry {
        var batch: BatchBuilder
        var group: Group
        /// Requests with an `Idempotency-Key`, with the index of their push in the batch and its warnings.
        var idempotent: [(push: Int, request: IdempotentRequest, warnings: [UInt8])] = []
    }

    private struct State {
        /// Full batches and open ones, in the order in which they were opened.
        var entries: [Entry] = []
        /// The indexes of the open batches.
        var open: [BatchKey: Int] = [:]
        var pushes = 0
        var isStopped = false
    }

    private let state = Mutex(State())
    /// Set by the first push after `run()` has taken all entries, and by `stop()`.
    private let workAvailable = AsyncSignal()
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
        /// `isFirst`: no other push was waiting.
        case inserted(Group, PushID, isFirst: Bool)
        case refused(Result)
    }

    /// A push that was added to a batch, or refused. `result(of:)` waits for its result.
    package struct Ticket: Sendable {
        fileprivate let group: Group?
        fileprivate let id: PushID?
        fileprivate let refusal: Result?
    }

    /// Adds the push that `parser` has just parsed from `bytes`. Never waits.
    ///
    /// - Parameters:
    ///   - request: its response is stored in the write that makes the push durable.
    ///   - warnings: for that response, as in `BulkResults.Notes`.
    func add(
        _ push: ParsedPush, from bytes: UnsafeRawBufferPointer, by parser: PushParser,
        request: IdempotentRequest? = nil, warnings: [UInt8] = []
    ) -> Ticket {
        let insertion = state.withLock { state in
            insert(push, from: bytes, by: parser, request, warnings, into: &state)
        }
        switch insertion {
        case .refused(let result): return Ticket(group: nil, id: nil, refusal: result)
        case .inserted(let group, let id, let isFirst):
            if isFirst { workAvailable.set() }
            return Ticket(group: group, id: id, refusal: nil)
        }
    }

    /// Waits until the batch of the push is durable or has failed.
    package func result(of ticket: Ticket) async -> Result {
        guard let group = ticket.group, let id = ticket.id else { return ticket.refusal ?? .stopping }
        switch await group.wait() {
        case .durable(let acceptedAt, let delay): return .accepted(id, at: acceptedAt, delay)
        case .failed(let error): return .failed(id, error)
        }
    }

    private func insert(
        _ push: ParsedPush, from bytes: UnsafeRawBufferPointer, by parser: PushParser, _ request: IdempotentRequest?,
        _ warnings: [UInt8], into state: inout State
    ) -> Insertion {
        if state.isStopped { return .refused(.stopping) }
        guard state.pushes < pushesMax else { return .refused(.full) }
        let key = BatchKey(push)
        let index: Int
        if let found = state.open[key] {
            index = found
        } else {
            index = state.entries.count
            state.entries.append(Entry(batch: BatchBuilder(key: key, id: committer.newBatchID()), group: Group()))
            state.open[key] = index
        }
        let pushIndex = state.entries[index].batch.append(push, from: bytes, by: parser)
        if let request { state.entries[index].idempotent.append((pushIndex, request, warnings)) }
        state.pushes += 1
        waiting.store(state.pushes, ordering: .relaxed)
        let entry = (group: state.entries[index].group, id: state.entries[index].batch.id.push(pushIndex))
        if state.entries[index].batch.count >= batchPushesMax { state.open[key] = nil }
        return .inserted(entry.group, entry.id, isFirst: state.pushes == 1)
    }

    /// Commits added pushes until `stop()`, then the remaining ones, and returns.
    package func run() async {
        while true {
            let (entries, isStopped) = state.withLock { state in
                defer {
                    state.entries = []
                    state.open = [:]
                    state.pushes = 0
                    waiting.store(0, ordering: .relaxed)
                }
                return (state.entries, state.isStopped)
            }
            if !entries.isEmpty {
                await commit(entries)
            } else if isStopped {
                return
            } else {
                await workAvailable.waitIgnoringCancellation()
            }
        }
    }

    private func commit(_ entries: [Entry]) async {
        let now = committer.now
        let batches = entries.map { $0.batch.closed(apps: apps, acceptedAt: now) }
        let delays = batches.map { committer.delay(of: $0) }
        var responses: [IdempotencyKey: IdempotencyRecord] = [:]
        for (entry, delay) in zip(entries, delays) {
            for (push, request, warnings) in entry.idempotent {
                let run = BulkResults.Run.accepted(
                    firstItem: 0, count: 1, batch: entry.batch.id, firstPush: push, at: now, delay,
                    notes: BulkResults.Notes(warnings: warnings)
                )
                responses[request.key] = request.record(of: StoredResponse(format: .single, runs: [run]), at: now)
            }
        }
        let error = await committer.commit(batches, storing: responses)
        for (entry, delay) in zip(entries, delays) {
            entry.group.finish(error.map(Commit.failed) ?? .durable(acceptedAt: now, delay))
        }
    }

    /// Refuses further pushes. `run()` returns once the added ones are committed.
    package func stop() {
        state.withLock { $0.isStopped = true }
        workAvailable.set()
    }
}
