import DequeModule
import JSONText
import PushModel
import PushStore

/// Turns the bytes of one bulk request into batches to commit and results to write.
///
/// Pure: no clock, no task. A batch is closed when it is full. All open batches are closed when no commit is in flight,
/// because waiting longer would only delay the results. `BulkSession` executes the commits.
struct BulkStateMachine {
    /// Batches to be made durable in one write.
    struct Submission {
        fileprivate(set) var slots: [Int] = []
        fileprivate(set) var batches: [Batch] = []
    }

    /// Limit of open batches. A push that needs one more closes all of them first.
    static let openMax = 64

    private let batchPushesMax: Int
    private let batchBytesMax: Int
    private let resultsWaitingMax: Int
    private let traceparent: String?
    private let requestID: String
    private let admission: AdmissionController
    /// The refusals by app when the current chunk arrived. Nil: no app is refused.
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
    /// Refused items since the last `takeRefusedCounts`, by code.
    private(set) var refusedCounts: [ErrorCode: Int] = [:]
    /// The last refusal of an item by admission control.
    private var overload: Refusal?
    /// Why the rest of the request is not read; nil while it is.
    private(set) var stop: Refusal?
    private(set) var hasEnded = false
    /// How the body ended. Valid once it has.
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

    /// Whether more of the body can change the results.
    var wantsInput: Bool { stop == nil && !hasEnded && !framer.isFinished }
    /// Full batches that are not submitted yet. The reader pauses while there are any.
    var fullCount: Int { full.count }
    /// Whether pushes wait to be submitted.
    var hasWork: Bool { !full.isEmpty || !open.isEmpty }

    /// The refusal of the whole request, if admission control refused every item.
    var overloadOfAllItems: Problem? {
        guard let overload, refusedCounts[.overloaded] == results.itemCount else { return nil }
        return Problem(overload).refusing(results.itemCount)
    }

    /// The refusal of a request that is accepted as a whole or not at all, if admission control refused any item.
    var overloadOfAnyItem: Problem? { overload.map { Problem($0).refusing(results.itemCount) } }

    // MARK: Input

    mutating func received(_ chunk: UnsafeRawBufferPointer) {
        guard wantsInput else { return }
        appRefusals = admission.refusals
        // A copy, so that the closure can change the rest of the machine.
        var framer = self.framer
        framer.feed(chunk) { item in process(item, isLast: false) }
        self.framer = framer
        if results.waitingCount > resultsWaitingMax, stop == nil {
            stop = Refusal(
                .queueFull,
                .text("too many results wait to be read; no item from this one on was accepted, send them again")
            )
        }
    }

    /// Ends the input; further chunks are ignored.
    ///
    /// - Parameter isCutOff: the connection closed before the body was complete.
    mutating func ended(isCutOff: Bool) {
        guard !hasEnded else { return }
        hasEnded = true
        guard stop == nil else { return }
        var framer = self.framer
        ending = framer.end(isCutOff: isCutOff) { item in process(item, isLast: true) }
        self.framer = framer
        switch ending {
        case .clean, .notAnArray: break
        case .truncated:
            refuse(Refusal(.truncatedStream, .text("the request ended in the middle of this item")))
        case .trailing:
            refuse(Refusal(.invalidJSON, .text("the body has text after the end of the array")))
        }
    }

    /// Accepts no further items. The first reason is kept.
    mutating func stopped(_ reason: Refusal) {
        if stop == nil { stop = reason }
    }

    private mutating func process(_ item: ItemFramer.Item, isLast: Bool) {
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
        if let devices, let refusal = parser.admit(push, by: devices) {
            refuse(refusal)
            return
        }
        let index = openBatch(for: BatchKey(push))
        let pushIndex = open[index].batch.append(push, from: bytes, by: parser)
        results.appendAccepted(slot: open[index].slot, push: pushIndex)
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

    /// The batches to commit next: one full batch, or all batches if no commit of this request is in flight.
    ///
    /// - Returns: nil if nothing is ready.
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

    /// Records that a submission is durable or has failed. A failure stops the request.
    ///
    /// - Parameter delays: parallel to the batches: why their pushes wait, if they do.
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
            stopped(
                Refusal(error.code, .text("reading stopped: no item from this one on was accepted, send them again")))
        }
    }

    mutating func removeKnownResults(itemsMax: Int) -> [BulkResults.Run] { results.removeKnown(itemsMax: itemsMax) }

    mutating func takeRefusedCounts() -> [ErrorCode: Int] {
        defer { refusedCounts = [:] }
        return refusedCounts
    }
}
