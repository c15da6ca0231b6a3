import APNSWire
import DequeModule
import JSONText
import PushModel
import PushStore

/// Turns the bytes of one bulk request into batches to commit and results to write.
///
/// Pure: no clock, no task. A batch is closed when it is full. When no commit is in flight, the oldest open batch and the
/// fullest ones are closed, because waiting longer would only delay the results. `BulkSession` executes the commits.
struct BulkStateMachine {
    /// Batches to be made durable in one write.
    struct Submission {
        fileprivate(set) var slots: [Int] = []
        fileprivate(set) var batches: [Batch] = []

        var byteCount: Int { batches.reduce(0) { $0 + $1.notifications.byteCount } }
    }

    /// Limit of the bytes of all open batches, in full batches.
    private static let openBytesBatches = 16

    private let batchPushesMax: Int
    private let batchBytesMax: Int
    private let resultsWaitingMax: Int
    private let traceparent: String?
    private let requestID: String?
    private let admission: AdmissionController
    /// The refusals by app when the current chunk arrived. Nil: no app is refused.
    private var appRefusals: [AdmissionRefusal?]?
    private let devices: DeviceLimiter?
    private let newID: @Sendable () -> BatchID
    private let apps: AppDirectory

    private var framer: ItemFramer
    private var parser: PushParser
    private var open: OpenBatches
    /// Closed batches that are not submitted yet.
    private var full: Deque<OpenBatches.Entry> = []
    private(set) var results = BulkResults()
    /// Refused items since the last `takeRefusedCounts`, by code.
    private(set) var refusedCounts: [ErrorCode: Int] = [:]
    /// Rules whose warnings are reported already: each is reported with the first push that violates it.
    private var reportedRules: Set<LintCode> = []
    /// The last refusal of an item by admission control.
    private var overload: Refusal?
    /// Why the rest of the request is not read; nil while it is.
    private(set) var stop: Refusal?
    private(set) var hasEnded = false
    /// How the body ended. Valid once it has.
    private(set) var ending = ItemFramer.Ending.clean

    init(
        apps: AppDirectory, format: ItemFramer.Format, configuration: AcceptConfiguration, traceparent: String?,
        requestID: String?, admission: AdmissionController, devices: DeviceLimiter? = nil, defaultLane: Lane = .bulk,
        strict: Bool = false, newID: @escaping @Sendable () -> BatchID
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
        open = OpenBatches(bytesMax: Self.openBytesBatches * configuration.batchBytesMax)
        framer = ItemFramer(format: format, itemBytesMax: configuration.itemBytesMax)
        parser = PushParser(apps: apps, defaultLane: defaultLane, strict: strict)
    }

    /// Whether more of the body can change the results.
    var wantsInput: Bool { stop == nil && !hasEnded && !framer.isFinished }
    /// Closed batches that are not submitted yet. The reader pauses while there are any.
    var fullCount: Int { full.count }
    /// Whether pushes wait to be submitted.
    var hasWork: Bool { !full.isEmpty || !open.isEmpty }

    /// The memory of batches that are not submitted, and of results.
    var byteCount: Int { open.bytes + full.reduce(0) { $0 + $1.batch.byteCount } + results.byteCount }

    /// The refusal of the whole request, if admission control refused every item.
    var overloadOfAllItems: Problem? {
        guard let overload, refusedCounts[.overloaded] == results.resultCount else { return nil }
        return Problem(overload).refusing(results.resultCount)
    }

    /// The refusal of a request that is accepted as a whole or not at all, if admission control refused any item.
    var overloadOfAnyItem: Problem? { overload.map { Problem($0).refusing(results.resultCount) } }

    // MARK: Input

    /// Reads a body that is one push, with one device token or several.
    mutating func receivedPush(_ bytes: UnsafeRawBufferPointer, now: WallTime) {
        appRefusals = admission.refusals
        process(.bytes(bytes), isLast: false, now: now)
        hasEnded = true
    }

    /// - Parameter now: a `not_before` of this time or earlier means immediately.
    mutating func received(_ chunk: UnsafeRawBufferPointer, now: WallTime) {
        guard wantsInput else { return }
        appRefusals = admission.refusals
        // A copy, so that the closure can change the rest of the machine.
        var framer = self.framer
        framer.feed(chunk) { item in process(item, isLast: false, now: now) }
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
    mutating func ended(isCutOff: Bool, now: WallTime) {
        guard !hasEnded else { return }
        hasEnded = true
        guard stop == nil else { return }
        var framer = self.framer
        ending = framer.end(isCutOff: isCutOff) { item in process(item, isLast: true, now: now) }
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

    private mutating func process(_ item: ItemFramer.Item, isLast: Bool, now: WallTime) {
        guard case .bytes(let bytes) = item else {
            refuse(Refusal(.itemTooLarge, .text("an item has at most \(framer.itemBytesMax) bytes")))
            return
        }
        switch parser.parse(bytes, now: now) {
        case .push(let push): accept(push, from: bytes, now: now)
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

    private mutating func refuse(_ refusal: Refusal, token: Int? = nil) {
        results.appendRefused(refusal, token: token)
        refusedCounts[refusal.code, default: 0] += 1
    }

    /// Adds a push, or one for each of its device tokens, to the batches.
    private mutating func accept(_ push: ParsedPush, from bytes: UnsafeRawBufferPointer, now: WallTime) {
        var warnings = push.isWarned ? newWarnings(push, now: now) : []
        guard push.tokenCount != nil else {
            append(push, from: bytes, token: nil, &warnings)
            return
        }
        var cursor = parser.tokenCursor()
        var token = 0
        while let next = parser.nextToken(&cursor, in: bytes) {
            switch next {
            case .token: append(push, from: bytes, token: token, &warnings)
            case .refused(let refusal): refuse(refusal, token: token)
            }
            token += 1
        }
    }

    /// The warnings of a push that no earlier push of the request had.
    private mutating func newWarnings(_ push: ParsedPush, now: WallTime) -> [LintFinding] {
        if parser.warnings.allSatisfy(reportedRules.contains) { return [] }
        return parser.findings(push, now: now).filter { !reportedRules.contains($0.code) }
    }

    /// - Parameter warnings: to be reported with the push; empty afterwards if it is accepted.
    private mutating func append(
        _ push: ParsedPush, from bytes: UnsafeRawBufferPointer, token: Int?, _ warnings: inout [LintFinding]
    ) {
        if let refusal = appRefusals?[push.app] {
            overload = .overloaded(refusal)
            refuse(.overloaded(refusal), token: token)
            return
        }
        if let devices, let refusal = parser.admit(push, by: devices) {
            refuse(refusal, token: token)
            return
        }
        let key = BatchKey(push)
        if !open.select(key) {
            let batch = BatchBuilder(key: key, id: newID())
            if let closed = open.open(.init(slot: results.openSlot(for: batch.id), batch: batch)) {
                full.append(closed)
            }
        }
        let (slot, index) = open.append(push, from: bytes, by: parser)
        results.appendAccepted(
            slot: slot, push: index, token: token,
            warnings: warnings.isEmpty ? [] : ResponseJSON.warnings(warnings))
        if !warnings.isEmpty {
            reportedRules.formUnion(warnings.map(\.code))
            warnings = []
        }
        if let closed = open.closeFull(pushesMax: batchPushesMax, bytesMax: batchBytesMax) { full.append(closed) }
    }

    /// Closes all batches that are not submitted; the caller does not commit them.
    mutating func takeUnsubmitted() -> [Batch] {
        defer { full = [] }
        return (full + open.closeAll()).map { $0.batch.closed(apps: apps, acceptedAt: WallTime(milliseconds: 0)) }
    }

    // MARK: Commits

    /// The batches to commit next: closed ones, up to the pushes of one full batch, and open ones if no commit of this
    /// request is in flight. All of them after the last item.
    ///
    /// - Returns: nil if nothing is ready.
    mutating func nextSubmission(isIdle: Bool, now: WallTime) -> Submission? {
        if isIdle { full.append(contentsOf: isFinal ? open.closeAll() : open.close(pushes: batchPushesMax)) }
        guard !full.isEmpty else { return nil }
        var submission = Submission()
        var pushes = 0
        while isIdle || pushes < batchPushesMax, let next = full.popFirst() {
            pushes += next.batch.count
            submission.slots.append(next.slot)
            submission.batches.append(
                next.batch.closed(apps: apps, acceptedAt: now, traceparent: traceparent, requestID: requestID)
            )
        }
        return submission
    }

    /// No further item is accepted.
    private var isFinal: Bool { hasEnded || stop != nil }

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
