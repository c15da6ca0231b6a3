import NIOCore
import PushConcurrency
import PushModel
import PushStore
import Synchronization

// One bulk request in progress.
//
// `BulkStateMachine` decides which pushes form a batch, what is committed next, and which results are known. The
// session keeps it behind one lock, and three kinds of tasks work on it concurrently:
//
//            receive, end               startCommit, commit                  nextPage
//   body ──► reader ──► open and full ──► commits, at most ──► results, in ──► writer ──► response
//               ▲       batches           `commitsMax`         item order        ▲
//               │                             │                                  │
//               └────── commitFinished ───────┴────────── pageAvailable ─────────┘
//
// - The reader feeds the body to the machine. It pauses only while a full batch cannot be committed because
//   `commitsMax` commits are in flight. It never waits for the writer: a client may send the whole body before it reads
//   anything.
// - A commit task writes one submission (the batches of one write), then the next that is ready, so the store stays busy
//   while the reader waits for the client. When no commit is in flight, open batches are submitted as well: the oldest
//   and the fullest ones, about the pushes of one full batch. They are small if the store is faster than the client, and
//   full if the client is faster.
// - The writer gets pages of results in the order of the items, as soon as they are known. The result of an item waits
//   for the commit of its batch, and every later result waits behind it.
//
// A request runs through these phases:
//
//   reading ── first commit finished ─► streaming ── body over ──► committing ── no commit left ──► done
//      │                                    │                          ▲
//      │ whole request refused              └───────── stop ───────────┘
//      ▼
//   problem document
//
// While reading, no byte of the response is sent, so the request can still be refused with a status. A body that is
// complete by then gets one whole response. Once streaming, a failure is a result of its own, with the index of the
// first item that was not accepted. Four events stop a stream: a failed commit, too many results that wait for a slow
// client, shutdown, and a refusal by admission control. A stopped request reads nothing more, and commits all that it
// has read.
//
// Memory is bounded: open batches by `OpenBatches`, full batches by the pause of the reader, waiting
// results by `resultsWaitingMax`, where consecutive pushes of one batch count as one. All requests together are bounded
// by `HeldBytes`: while it is exhausted the reader waits for its commits, and a request with unread results is stopped
// when it is half used.
//
// A request is normally done when its body is over and all commits have finished. A stopped request is done after its
// last commit, without waiting for the reader, because the client may never send another byte. The reader is cancelled
// after the last page.
final class BulkSession: Sendable {
    private struct State: ~Copyable {
        var machine: BulkStateMachine
        var commitsInFlight = 0
        /// Bytes of the pushes that are being committed.
        var commitBytes = 0
        /// Bytes of the page that is being written.
        var pageBytes = 0
        var share: HeldShare
        /// The body is over, and each of its commits has succeeded or failed.
        var areAllCommitsFinished = false

        /// No further result will become known.
        var isDone: Bool {
            areAllCommitsFinished || (machine.stop != nil && commitsInFlight == 0 && !machine.hasWork)
        }

        mutating func countBytes() { share.set(machine.byteCount + commitBytes + pageBytes) }
    }

    /// Results to be written.
    struct Page {
        var runs: [BulkResults.Run]
        var isLast: Bool
        /// Items of the request so far.
        var itemCount: Int
        /// On the last page: why the rest of the request was not read.
        var stop: Refusal?
    }

    /// A page ends with the run that reaches this number of results.
    static let pageItems = 1000
    /// Results that may wait for the client while held bytes are scarce.
    private static let scarceResultBytes = 64 * 1024

    private let state: Mutex<State>
    /// Set when a commit finishes: the reader may continue.
    private let commitFinished = AsyncSignal()
    /// Set when `nextPage` may have results to return.
    private let pageAvailable = AsyncSignal()
    private let committer: BatchCommitter
    private let held: HeldBytes
    private let commitsMax: Int
    private let metrics: AcceptMetrics

    init(
        machine: BulkStateMachine, committer: BatchCommitter, held: HeldBytes, commitsMax: Int, metrics: AcceptMetrics
    ) {
        state = Mutex(State(machine: machine, share: HeldShare(of: held)))
        self.held = held
        self.committer = committer
        self.commitsMax = commitsMax
        self.metrics = metrics
    }

    // MARK: Reader

    func receive(_ chunk: ByteBuffer) {
        let now = committer.now
        chunk.withUnsafeReadableBytes { bytes in
            state.withLock { state in
                state.machine.received(bytes, now: now)
                if held.isScarce, state.machine.results.byteCount > Self.scarceResultBytes {
                    state.machine.stopped(
                        Refusal(
                            .queueFull,
                            .text(
                                "this instance is short of memory and the results are not read; no item from this one on was accepted, send them again"
                            )
                        )
                    )
                }
                state.countBytes()
            }
        }
    }

    func end(isCutOff: Bool) {
        let now = committer.now
        state.withLock { $0.machine.ended(isCutOff: isCutOff, now: now) }
    }

    /// Stops reading. Pushes already read are still committed.
    ///
    /// - Parameter reason: the last result of the request.
    func stop(_ reason: Refusal) {
        state.withLock { $0.machine.stopped(reason) }
        pageAvailable.set()
    }

    var wantsInput: Bool { state.withLock { $0.machine.wantsInput } }
    var hasWork: Bool { state.withLock { $0.machine.hasWork } }
    var ending: ItemFramer.Ending { state.withLock { $0.machine.ending } }
    var overloadOfAllItems: Problem? { state.withLock { $0.machine.overloadOfAllItems } }
    var itemCount: Int { state.withLock { $0.machine.results.itemCount } }

    /// Starts a commit, if one is ready and fewer than `commitsMax` are in flight. The caller must `commit` the result.
    func startCommit() -> BulkStateMachine.Submission? {
        let now = committer.now
        return state.withLock { state in
            guard state.commitsInFlight < commitsMax,
                let next = state.machine.nextSubmission(isIdle: state.commitsInFlight == 0, now: now)
            else { return nil }
            state.commitsInFlight += 1
            state.commitBytes += next.byteCount
            return next
        }
    }

    /// Commits `submission`, and then each submission that is ready when the previous one is finished.
    ///
    /// - Returns: the error of the last commit.
    @discardableResult
    func commit(_ submission: BulkStateMachine.Submission) async -> QueueError? {
        var next: BulkStateMachine.Submission? = submission
        var error: QueueError?
        while let current = next {
            let delays = current.batches.map { committer.delay(of: $0) }
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
            state.commitBytes += (next?.byteCount ?? 0) - submission.byteCount
            state.countBytes()
            return next
        }
        commitFinished.set()
        pageAvailable.set()
        return next
    }

    /// Waits while a full batch cannot be committed yet, or too many bytes are held and a commit will release some:
    /// reading on would only use more memory.
    func waitForCapacity() async {
        while state.withLock({ $0.commitsInFlight > 0 && ($0.machine.fullCount > 0 || held.isExhausted) }) {
            await commitFinished.waitIgnoringCancellation()
        }
    }

    /// Gives up pushes that were read and not submitted: the whole request is refused.
    func discardUnsubmitted() {
        let batches = state.withLock { state in
            defer { state.countBytes() }
            return state.machine.takeUnsubmitted()
        }
        for batch in batches { committer.discard(batch) }
    }

    /// Reports that the body is over and all commits are finished.
    func allCommitsFinished() {
        state.withLock { $0.areAllCommitsFinished = true }
        pageAvailable.set()
    }

    // MARK: Writer

    /// Waits for the next results. Not to be called again after the last page.
    func nextPage() async -> Page {
        while true {
            if let page = takePage() { return page }
            await pageAvailable.waitIgnoringCancellation()
        }
    }

    /// Counts the bytes of a page until it is written.
    func setPageBytes(_ bytes: Int) {
        state.withLock { state in
            state.pageBytes = bytes
            state.countBytes()
        }
    }

    private func takePage() -> Page? {
        let (page, refused) = state.withLock { state -> (Page?, [ErrorCode: Int]) in
            let runs = state.machine.removeKnownResults(itemsMax: Self.pageItems)
            let isLast = state.isDone && state.machine.results.waitingCount == 0
            guard !runs.isEmpty || isLast else { return (nil, [:]) }
            let page = Page(
                runs: runs, isLast: isLast, itemCount: state.machine.results.itemCount,
                stop: isLast ? state.machine.stop : nil
            )
            return (page, state.machine.takeRefusedCounts())
        }
        for (code, count) in refused { metrics.refused(code, pushes: count) }
        return page
    }
}
