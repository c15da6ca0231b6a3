import APNSWire
import PushConcurrency
package import PushModel
package import PushStore
import Synchronization

/// Gathers the pushes of single-push requests into batches: adaptive group commit.
///
/// A lone push is committed at once. Pushes that arrive while a commit is under way make up the next batches, so a flood
/// costs one commit for many. `run()` must be running for anything to happen.
package final class SinglePushCollector: Sendable {
    /// What becomes of one push.
    package enum Result: Sendable, Equatable {
        case accepted(PushID, at: WallTime, DeliveryDelay?)
        case failed(PushID, QueueError)
        /// Too much is waiting already; nothing was kept.
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
        /// Pushes of the batch, by index, whose answers are to be remembered.
        var keyed: [(place: Int, request: IdempotentRequest)] = []
    }

    private struct State {
        /// Full batches first, then those that still take pushes.
        var entries: [Entry] = []
        /// Index of the first entry that still takes pushes.
        var openStart = 0
        var pushes = 0
        var isStopped = false
    }

    private let state = Mutex(State())
    /// Set by the first push after `run()` has collected all, and by `stop()`.
    private let workAvailable = AsyncSignal()
    /// `State.pushes`, for those who only ask.
    private let waiting = Atomic<Int>(0)
    private let committer: BatchCommitter
    private let apps: AppDirectory
    private let pushesMax: Int
    private let batchPushesMax: Int

    /// - Parameter pushesMax: how many pushes may wait for a commit.
    package init(committer: BatchCommitter, apps: AppDirectory, pushesMax: Int, batchPushesMax: Int) {
        self.committer = committer
        self.apps = apps
        self.pushesMax = pushesMax
        self.batchPushesMax = batchPushesMax
    }

    /// Pushes that wait for the next write.
    package var waitingCount: Int { waiting.load(ordering: .relaxed) }

    /// Another push would be refused, so that it need not even be read.
    var isFull: Bool { waitingCount >= pushesMax }

    private enum Admission {
        case admitted(Group, PushID, isFirst: Bool)
        case refused(Result)
    }

    /// A push that has its place in a batch; `result` tells what became of it.
    package struct Ticket: Sendable {
        fileprivate let group: Group?
        fileprivate let id: PushID?
        fileprivate let refusal: Result?
    }

    /// Takes the push that `parser` has just read from `bytes`. Never waits.
    ///
    /// - Parameter request: its answer is remembered by the write that makes the push durable.
    func add(
        _ push: ParsedPush, from bytes: UnsafeRawBufferPointer, by parser: PushParser, request: IdempotentRequest? = nil
    ) -> Ticket {
        let admission = state.withLock { state in admit(push, from: bytes, by: parser, request, &state) }
        switch admission {
        case .refused(let result): return Ticket(group: nil, id: nil, refusal: result)
        case .admitted(let group, let id, let isFirst):
            if isFirst { workAvailable.set() }
            return Ticket(group: group, id: id, refusal: nil)
        }
    }

    /// What became of a push that was added: comes once its batch is durable or has failed.
    package func result(of ticket: Ticket) async -> Result {
        guard let group = ticket.group, let id = ticket.id else { return ticket.refusal ?? .stopping }
        switch await group.wait() {
        case .durable(let acceptedAt, let delay): return .accepted(id, at: acceptedAt, delay)
        case .failed(let error): return .failed(id, error)
        }
    }

    private func admit(
        _ push: ParsedPush, from bytes: UnsafeRawBufferPointer, by parser: PushParser, _ request: IdempotentRequest?,
        _ state: inout State
    ) -> Admission {
        if state.isStopped { return .refused(.stopping) }
        guard state.pushes < pushesMax else { return .refused(.full) }
        let key = BatchKey(push)
        let index: Int
        if let found = state.entries[state.openStart...].firstIndex(where: { $0.batch.key == key }) {
            index = found
        } else {
            state.entries.append(Entry(batch: BatchBuilder(key: key, id: committer.newBatchID()), group: Group()))
            index = state.entries.count - 1
        }
        let place = state.entries[index].batch.append(push, from: bytes, by: parser)
        if let request { state.entries[index].keyed.append((place, request)) }
        state.pushes += 1
        waiting.store(state.pushes, ordering: .relaxed)
        let entry = (group: state.entries[index].group, id: state.entries[index].batch.id.push(place))
        if state.entries[index].batch.count >= batchPushesMax {
            state.entries.swapAt(index, state.openStart)
            state.openStart += 1
        }
        return .admitted(entry.group, entry.id, isFirst: state.pushes == 1)
    }

    /// Commits what comes in, until `stop()`; then what is left, and returns.
    package func run() async {
        while true {
            let (entries, isStopped) = state.withLock { state in
                defer {
                    state.entries = []
                    state.openStart = 0
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
        let delays = batches.map { committer.delay(of: $0.app) }
        var answers: [IdempotencyKey: IdempotencyRecord] = [:]
        for (entry, delay) in zip(entries, delays) {
            for (place, request) in entry.keyed {
                let piece = BulkResults.Piece.accepted(
                    first: 0, count: 1, batch: entry.batch.id, place: place, at: now, delay
                )
                answers[request.key] = request.storing(StoredResponse(form: .single, pieces: [piece]), at: now)
            }
        }
        let error = await committer.commit(batches, storing: answers)
        for (entry, delay) in zip(entries, delays) {
            entry.group.finish(error.map(Commit.failed) ?? .durable(acceptedAt: now, delay))
        }
    }

    /// Takes no more pushes; `run()` ends once those that were taken are committed.
    package func stop() {
        state.withLock { $0.isStopped = true }
        workAvailable.set()
    }
}
