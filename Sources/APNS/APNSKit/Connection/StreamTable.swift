package import APNSWire
package import NIOCore

/// The streams of one connection: the push that each carries, and the part of its answer received so far.
///
/// Pure. Slots are reused; the index of a slot is the `tag` that the session returns with each event.
package struct StreamTable {
    package enum State: Equatable {
        /// The slot is free.
        case unused
        /// The request is not completely written: the server cannot have processed it.
        case unsent
        /// The request is completely written.
        case sent
        /// The push has been reported; the stream is still open.
        case settled
        /// The push has been reported, and the stream is being reset by us.
        case cancelled
        /// The stream was reset by us and is closed here, but the server may not have read the reset yet.
        case awaitingResetAck
    }

    package struct Stream {
        package var state = State.unused
        /// The push's index in its batch.
        package var index: UInt16 = 0
        package var status: UInt16 = 0
        package var id: Int32 = 0
        package var retryAfterSeconds: UInt32 = 0
        /// Whether the answer has the field `apns-id`.
        package var hasAPNSID = false
        /// `apns-unique-id` of the answer.
        package var uniqueID: String?
        /// Whether the server has completed the answer.
        package var isComplete = false
        package var bodyBytes = 0
        /// When the request was completely written; until then, when it was opened.
        package var writtenAt = NIODeadline.uptimeNanoseconds(0)
        package var batch: InFlightBatch?
        /// The body of an error answer; empty for other answers.
        package var body: [UInt8] = []

        /// When the push is reported if it has no answer; nil without a push.
        package var timeout: NIODeadline? {
            batch.map { state == .sent ? writtenAt + $0.answerTimeout : $0.waitUntil }
        }
    }

    /// What the end of a stream means for its push.
    package enum Resolution: Equatable {
        /// Report this answer.
        case settle(APNSAnswer, unknownReason: String? = nil)
        /// The push was not processed: send it again, and report this answer if that is not possible.
        case requeue(APNSAnswer)
        /// The push has been reported before.
        case nothing
    }

    package private(set) var slots: [Stream] = []
    private var unused: [UInt32] = []
    private var awaitingResetAck: [UInt32] = []
    /// How many of `awaitingResetAck` the PING in flight covers.
    private var coveredByPing = 0
    /// Streams that the server may count as open.
    package private(set) var openCount = 0
    /// Streams whose request is not completely written.
    package private(set) var unsentCount = 0

    private let requiresAPNSID: Bool

    /// - Parameter requiresAPNSID: whether a 200 without `apns-id` is not an answer of APNs.
    package init(requiresAPNSID: Bool = true) {
        self.requiresAPNSID = requiresAPNSID
    }

    /// Whether a push waits for its answer on any stream.
    package var carriesPush: Bool { slots.contains { $0.batch != nil } }

    /// Reserves a slot for a push that is about to be submitted.
    package mutating func open(_ batch: InFlightBatch, _ index: UInt16, now: NIODeadline) -> UInt32 {
        let tag: UInt32
        if let last = unused.popLast() {
            tag = last
        } else {
            tag = UInt32(slots.count)
            slots.append(Stream())
        }
        let slot = Int(tag)
        setState(of: slot, .unsent)
        slots[slot].batch = batch
        slots[slot].index = index
        slots[slot].writtenAt = now
        slots[slot].hasAPNSID = !requiresAPNSID
        slots[slot].isComplete = false
        openCount += 1
        return tag
    }

    package mutating func submitted(_ tag: UInt32, as id: Int32) { slots[Int(tag)].id = id }

    package mutating func sent(_ tag: UInt32, now: NIODeadline) {
        guard slots[Int(tag)].state == .unsent else { return }
        setState(of: Int(tag), .sent)
        slots[Int(tag)].writtenAt = now
    }

    package mutating func statusReceived(_ status: UInt16, _ tag: UInt32) { slots[Int(tag)].status = status }
    package mutating func retryAfterReceived(_ seconds: UInt32, _ tag: UInt32) {
        slots[Int(tag)].retryAfterSeconds = seconds
    }

    package mutating func apnsIDReceived(_ tag: UInt32) { slots[Int(tag)].hasAPNSID = true }

    /// Keeps `apns-unique-id`, unless it is too long or not printable ASCII.
    package mutating func uniqueIDReceived(_ value: UnsafeRawBufferPointer, _ tag: UInt32) {
        guard (1...Self.uniqueIDBytesMax).contains(value.count), value.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            return
        }
        slots[Int(tag)].uniqueID = String(decoding: value, as: UTF8.self)
    }

    /// APNs sends a UUID of 36 bytes.
    private static let uniqueIDBytesMax = 64

    package mutating func answerCompleted(_ tag: UInt32) { slots[Int(tag)].isComplete = true }

    /// - Returns: whether the body exceeds `ErrorBody.bytesMax`.
    package mutating func bodyReceived(_ bytes: UnsafeRawBufferPointer, _ tag: UInt32) -> Bool {
        let slot = Int(tag)
        slots[slot].bodyBytes += bytes.count
        // The body of a 200 has no meaning. One byte over the limit is kept, so that `ErrorBody` detects the excess.
        let capacity = ErrorBody.bytesMax + 1 - slots[slot].body.count
        if slots[slot].status != 200, capacity > 0 { slots[slot].body.append(contentsOf: bytes.prefix(capacity)) }
        guard slots[slot].bodyBytes > ErrorBody.bytesMax else { return false }
        // The rest cannot make it an answer of APNs.
        slots[slot].isComplete = true
        return true
    }

    /// The answer received on a stream; nil before its status, and after its push has been reported.
    package func answer(for tag: UInt32) -> (APNSAnswer, unknownReason: String?)? { Self.answer(of: slots[Int(tag)]) }

    private static func answer(of stream: Stream) -> (APNSAnswer, unknownReason: String?)? {
        guard stream.state == .sent || stream.state == .unsent, stream.status >= 200 else { return nil }
        if stream.status == 200, stream.hasAPNSID { return (.accepted, nil) }
        let body = ErrorBody(stream.body)
        let answer = APNSAnswer(
            disposition: .answered, status: stream.status, reason: body.reason,
            failure: isAPNs(stream, body.reason) ? .none : .notAPNs,
            tokenInvalidAtMilliseconds: body.timestamp, retryAfterSeconds: stream.retryAfterSeconds
        )
        return (answer, body.unknownReason)
    }

    /// Whether an answer can be one of APNs, which gives every answer an ID and every error a reason (Apple, "Handling
    /// notification responses from APNs"). Proxies, portals and other servers do not.
    private static func isAPNs(_ stream: Stream, _ reason: APNSReason) -> Bool {
        if stream.status == 200 { return stream.hasAPNSID }
        if reason != .none { return true }
        // An overloaded APNs may fail to give a reason, and the end of an answer may be lost.
        return stream.hasAPNSID && (stream.status >= 500 || !stream.isComplete)
    }

    /// The push of a stream has been reported; later events of the stream are ignored.
    package mutating func settle(_ tag: UInt32) {
        setState(of: Int(tag), .settled)
        slots[Int(tag)].batch = nil
    }

    /// The push of a stream has been reported, and the stream is being reset.
    package mutating func cancel(_ tag: UInt32) {
        setState(of: Int(tag), .cancelled)
        slots[Int(tag)].batch = nil
    }

    /// What the end of a stream, or of its connection, means for its push.
    ///
    /// - Parameter unanswered: the answer without a status, from `ConnectionStateMachine`. A status that has been
    ///   received takes precedence, even if the rest of the answer is missing; but the start of an answer does not show
    ///   that a server is another one than APNs.
    package static func resolution(of stream: Stream, unanswered: @autoclosure () -> APNSAnswer) -> Resolution {
        guard stream.state == .sent || stream.state == .unsent else { return .nothing }
        if let (answer, unknownReason) = answer(of: stream), stream.isComplete || answer.failure != .notAPNs {
            return .settle(answer, unknownReason: unknownReason)
        }
        let answer = unanswered()
        // A server that has begun to answer may have processed the push, whatever it says then.
        if stream.status >= 200 { return .settle(.failed(answer.failure, .ambiguous)) }
        return answer.disposition == .ambiguous ? .settle(answer) : .requeue(answer)
    }

    /// Frees a slot: the stream is closed on both sides.
    package mutating func close(_ tag: UInt32) {
        let slot = Int(tag)
        setState(of: slot, .unused)
        slots[slot].batch = nil
        slots[slot].status = 0
        slots[slot].retryAfterSeconds = 0
        if slots[slot].uniqueID != nil { slots[slot].uniqueID = nil }
        slots[slot].bodyBytes = 0
        if !slots[slot].body.isEmpty { slots[slot].body.removeAll(keepingCapacity: true) }
        unused.append(tag)
        openCount -= 1
    }

    private mutating func setState(of slot: Int, _ state: State) {
        if slots[slot].state == .unsent { unsentCount -= 1 }
        if state == .unsent { unsentCount += 1 }
        slots[slot].state = state
    }

    // MARK: Streams that we reset

    /// Keeps the slot of a stream that we reset until the server acknowledges a later PING, and so has read the reset.
    ///
    /// This way a server that stops answering costs a bounded number of streams, not a new one for each timeout.
    package mutating func awaitResetAck(_ tag: UInt32) {
        setState(of: Int(tag), .awaitingResetAck)
        slots[Int(tag)].batch = nil
        awaitingResetAck.append(tag)
    }

    /// Whether a stream awaits an acknowledgement that the PING in flight does not cover.
    package var needsPing: Bool { awaitingResetAck.count > coveredByPing }

    package mutating func pingSent() { coveredByPing = awaitingResetAck.count }

    package mutating func pingAcknowledged() {
        for tag in awaitingResetAck.prefix(coveredByPing) { close(tag) }
        awaitingResetAck.removeFirst(coveredByPing)
        coveredByPing = 0
    }
}
