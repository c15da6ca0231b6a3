import DequeModule
import JSONText
import PushModel
import PushStore

/// One bulk request: bytes come in, batches to commit and results go out.
///
/// Pure: no clock, no task. Batches are closed when they are full, and all of them when nothing is being committed: then
/// waiting longer would only delay the acknowledgement. `BulkSession` runs what is returned.
struct BulkStateMachine {
    /// Batches to be made durable by one write.
    struct Submission {
        fileprivate(set) var slots: [Int] = []
        fileprivate(set) var batches: [Batch] = []
    }

    /// Batches that may be open at a time; more kinds of pushes than this close those there are.
    static let openMax = 64

    private let batchPushesMax: Int
    private let batchBytesMax: Int
    private let resultsWaitingMax: Int
    private let traceparent: String?
    private let requestID: String
    private let admission: AdmissionController
    /// How it stood when the present piece of the body came; nil: no app is refused.
    private var appRefusals: [AdmissionRefusal?]?
    private let devices: DeviceLimiter?
    private let newID: @Sendable () -> BatchID
    private let apps: AppDirectory

    private var framer: ItemFramer
    private var parser: PushParser
    private var open: [(slot: Int, batch: BatchBuilder)] = []
    private var lastOpen = 0
    private var full: Deque<(slot: Int, batch: BatchBuilder)> = []
    private(set) var results = BulkResults()
    /// Refused so far, by code.
    private(set) var refusedCounts: [ErrorCode: Int] = [:]
    /// The last refusal of an item whose app has too much that waits.
    private var overload: Refusal?
    /// Why the rest of the request is not read.
    private(set) var stop: Refusal?
    private(set) var hasEnded = false
    /// How the body ended, once it has.
    private(set) var ending = ItemFramer.Ending.clean

    init(
        apps: AppDirectory, format: ItemFramer.Format, configuration: AcceptConfiguration, traceparent: String?,
        requestID: String, admission: AdmissionController, devices: DeviceLimiter? = nil,
        newID: @escaping @Sendable () -> BatchID
    ) {
        self.apps = apps
        batchPushesMax = configuration.batchPushesMax
        batchBytesMax = configuration.batchBytesMax
        resultsWaitingMax = configuration.resultsWaitingMax
        self.traceparent = traceparent
        self.requestID = requestID
        self.admission = admission
        self.devices = devices
        self.newID = newID
        framer = ItemFramer(format: format, itemBytesMax: configuration.itemBytesMax)
        parser = PushParser(apps: apps, defaultLane: .bulk)
    }

    /// Whether more of the body can still matter.
    var wantsInput: Bool { stop == nil && !hasEnded && !framer.isFinished }
    /// Full batches that wait for their turn: the reader waits when there are some.
    var fullCount: Int { full.count }
    var hasWork: Bool { !full.isEmpty || !open.isEmpty }

    /// The request's refusal, if there is nothing in it but pushes of apps that have too much that waits.
    var nothingButOverload: Problem? {
        guard let overload, refusedCounts[.overloaded] == results.itemCount else { return nil }
        return Problem(overload).refusing(results.itemCount)
    }

    /// The refusal of a request that is taken whole or not at all, if an app of it has too much that waits.
    var anyOverload: Problem? { overload.map { Problem($0).refusing(results.itemCount) } }

    // MARK: Input

    mutating func received(_ chunk: UnsafeRawBufferPointer) {
        guard wantsInput else { return }
        appRefusals = admission.refusals
        // Taken out, so that the closure may change the rest of the machine.
        var framer = self.framer
        framer.feed(chunk) { item in take(item, isLast: false) }
        self.framer = framer
        if results.waitingCount > resultsWaitingMax, stop == nil {
            stop = Refusal(
                .queueFull,
                .text("too many results wait to be read; no item from this one on was taken, send them again")
            )
        }
    }

    /// The body is over; nothing comes after this.
    mutating func ended(isCutOff: Bool) {
        guard !hasEnded else { return }
        hasEnded = true
        guard stop == nil else { return }
        var framer = self.framer
        ending = framer.end(isCutOff: isCutOff) { item in take(item, isLast: true) }
        self.framer = framer
        switch ending {
        case .clean, .notAnArray: break
        case .truncated:
            refuse(Refusal(.truncatedStream, .text("the request ended in the middle of this item")))
        case .trailing:
            refuse(Refusal(.invalidJSON, .text("text after the end of the array")))
        }
    }

    /// Takes no more input, for this reason.
    mutating func stopped(_ reason: Refusal) {
        if stop == nil { stop = reason }
    }

    private mutating func take(_ item: ItemFramer.Item, isLast: Bool) {
        guard case .bytes(let bytes) = item else {
            refuse(Refusal(.itemTooLarge, .text("an item has at most \(framer.itemBytesMax) bytes")))
            return
        }
        switch parser.parse(bytes) {
        case .push(let push): append(push, from: bytes)
        case .refused(let refusal):
            if isLast, case .json(let error) = refusal.detail, error.kind == .unexpectedEnd,
                refusal.code == .invalidJSON
            {
                refuse(Refusal(.truncatedStream, .text("the request ended in the middle of this item")))
            } else {
                refuse(refusal)
            }
        }
    }

    private mutating func refuse(_ refusal: Refusal) {
        results.appendRefused(refusal)
        refusedCounts[refusal.code, default: 0] += 1
    }

    private mutating func append(_ push: ParsedPush, from bytes: UnsafeRawBufferPointer) {
        if let refusal = appRefusals?[push.app] {
            overload = .overloaded(refusal)
            refuse(.overloaded(refusal))
            return
        }
        if let devices, let refusal = parser.refusal(of: push, by: devices) {
            refuse(refusal)
            return
        }
        let index = openBatch(for: BatchKey(push))
        let place = open[index].batch.append(push, from: bytes, by: parser)
        results.appendAccepted(slot: open[index].slot, place: place)
        if open[index].batch.count >= batchPushesMax || open[index].batch.byteCount >= batchBytesMax {
            full.append(open.remove(at: index))
        }
    }

    private mutating func openBatch(for key: BatchKey) -> Int {
        if lastOpen < open.count, open[lastOpen].batch.key == key { return lastOpen }
        if let found = open.firstIndex(where: { $0.batch.key == key }) {
            lastOpen = found
            return found
        }
        if open.count == Self.openMax { closeAll() }
        let batch = BatchBuilder(key: key, id: newID())
        open.append((results.openSlot(for: batch.id), batch))
        lastOpen = open.count - 1
        return lastOpen
    }

    private mutating func closeAll() {
        full.append(contentsOf: open)
        open.removeAll()
    }

    // MARK: Commits

    /// What is to be committed next, if anything.
    ///
    /// - Parameter isIdle: nothing of this request is being committed.
    mutating func nextSubmission(isIdle: Bool, now: WallTime) -> Submission? {
        if isIdle { closeAll() }
        guard !full.isEmpty else { return nil }
        var submission = Submission()
        while let next = full.popFirst() {
            submission.slots.append(next.slot)
            submission.batches.append(
                next.batch.closed(apps: apps, acceptedAt: now, traceparent: traceparent, requestID: requestID)
            )
            if !isIdle { break }
        }
        return submission
    }

    /// A submission is durable, or has failed; then the rest of the request is not read.
    ///
    /// - Parameter outlooks: parallel to the batches: why their pushes wait, if they do.
    mutating func committed(_ submission: Submission, error: QueueError?, delays: [DeliveryDelay?]) {
        for (index, batch) in submission.batches.enumerated() {
            results.resolve(
                slot: submission.slots[index], pushes: batch.count, error: error, at: batch.acceptedAt,
                delay: delays[index]
            )
        }
        if let error {
            if !error.isOutcomeUnknown {
                refusedCounts[error.code, default: 0] += submission.batches.reduce(0) { $0 + $1.count }
            }
            stopped(Refusal(error.code, .text("reading stopped: no item from this one on was taken, send them again")))
        }
    }

    /// Takes results whose turn it is and that are known.
    mutating func takeResults(itemsMax: Int) -> [BulkResults.Piece] { results.take(itemsMax: itemsMax) }

    mutating func takeRefusedCounts() -> [ErrorCode: Int] {
        defer { refusedCounts = [:] }
        return refusedCounts
    }
}
