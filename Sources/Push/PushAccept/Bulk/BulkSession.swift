import NIOCore
import PushConcurrency
import PushModel
import PushStore
import Synchronization

/// One bulk request at work: a reader, some commits and a writer that never wait for one another longer than they must.
///
/// The reader waits when full batches pile up, never for the writer: a client may send everything before it reads
/// anything.
final class BulkSession: Sendable {
    private struct State: ~Copyable {
        var machine: BulkStateMachine
        var commitsInFlight = 0
        /// The body is over and everything of it is committed or has failed.
        var isReaderDone = false

        /// Nothing more will be known than is known now. A request that was stopped is not waited for: its client may
        /// never send another byte.
        var isDone: Bool { isReaderDone || machine.stop != nil && commitsInFlight == 0 && !machine.hasWork }
    }

    /// Some results to be written; `stop` comes with the last ones.
    struct Page {
        var pieces: [BulkResults.Piece]
        var isLast: Bool
        var itemCount: Int
        var stop: Refusal?
    }

    /// Results in one page, at least.
    static let pageItems = 1000

    private let state: Mutex<State>
    /// Set when a commit is over: the reader may have room again.
    private let commitFinished = AsyncSignal()
    /// Set when `nextPage` may have something to return.
    private let pageAvailable = AsyncSignal()
    private let committer: BatchCommitter
    private let commitsMax: Int
    private let metrics: AcceptMetrics

    init(machine: BulkStateMachine, committer: BatchCommitter, commitsMax: Int, metrics: AcceptMetrics) {
        state = Mutex(State(machine: machine))
        self.committer = committer
        self.commitsMax = commitsMax
        self.metrics = metrics
    }

    // MARK: Reader

    /// Takes a piece of the body.
    func receive(_ chunk: ByteBuffer) {
        chunk.withUnsafeReadableBytes { bytes in
            state.withLock { $0.machine.received(bytes) }
        }
    }

    func end(isCutOff: Bool) { state.withLock { $0.machine.ended(isCutOff: isCutOff) } }

    /// Takes no more input, for this reason; what was taken is still committed.
    func stop(_ reason: Refusal) {
        state.withLock { $0.machine.stopped(reason) }
        pageAvailable.set()
    }

    var wantsInput: Bool { state.withLock { $0.machine.wantsInput } }
    var hasWork: Bool { state.withLock { $0.machine.hasWork } }
    var ending: ItemFramer.Ending { state.withLock { $0.machine.ending } }
    var nothingButOverload: Problem? { state.withLock { $0.machine.nothingButOverload } }
    var itemCount: Int { state.withLock { $0.machine.results.itemCount } }

    /// Starts a commit, if there is one to start now. Whoever gets a submission must `commit` it.
    func startCommit() -> BulkStateMachine.Submission? {
        let now = committer.now
        return state.withLock { state in
            guard state.commitsInFlight < commitsMax,
                let next = state.machine.nextSubmission(isIdle: state.commitsInFlight == 0, now: now)
            else { return nil }
            state.commitsInFlight += 1
            return next
        }
    }

    /// Commits `submission`, then whatever waits for its turn after it.
    ///
    /// - Returns: the error of the last commit.
    @discardableResult
    func commit(_ submission: BulkStateMachine.Submission) async -> QueueError? {
        var next: BulkStateMachine.Submission? = submission
        var error: QueueError?
        while let current = next {
            let delays = current.batches.map { committer.delay(of: $0.app) }
            error = await committer.commit(current.batches)
            next = finish(current, error: error, delays: delays)
        }
        return error
    }

    private func finish(
        _ submission: BulkStateMachine.Submission, error: QueueError?, delays: [DeliveryDelay?]
    ) -> BulkStateMachine.Submission? {
        let now = committer.now
        let next = state.withLock { state in
            state.machine.committed(submission, error: error, delays: delays)
            let next = state.machine.nextSubmission(isIdle: state.commitsInFlight == 1, now: now)
            if next == nil { state.commitsInFlight -= 1 }
            return next
        }
        commitFinished.set()
        pageAvailable.set()
        return next
    }

    /// Waits while a full batch waits for its turn: then reading on would only fill memory.
    func waitForCapacity() async {
        while state.withLock({ $0.machine.fullCount > 0 && $0.commitsInFlight > 0 }) {
            await commitFinished.waitIgnoringCancellation()
        }
    }

    /// All commits are over: the writer may finish.
    func done() {
        state.withLock { $0.isReaderDone = true }
        pageAvailable.set()
    }

    // MARK: Writer

    /// The next results, as soon as there are some. Not to be called again after the last page.
    func nextPage() async -> Page {
        while true {
            if let page = takePage() { return page }
            await pageAvailable.waitIgnoringCancellation()
        }
    }

    private func takePage() -> Page? {
        let (page, refused) = state.withLock { state -> (Page?, [ErrorCode: Int]) in
            let pieces = state.machine.takeResults(itemsMax: Self.pageItems)
            let isLast = state.isDone && state.machine.results.waitingCount == 0
            guard !pieces.isEmpty || isLast else { return (nil, [:]) }
            let page = Page(
                pieces: pieces, isLast: isLast, itemCount: state.machine.results.itemCount,
                stop: isLast ? state.machine.stop : nil
            )
            return (page, state.machine.takeRefusedCounts())
        }
        for (code, count) in refused { metrics.refused(code, pushes: count) }
        return page
    }
}
