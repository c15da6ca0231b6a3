package import APNSWire
package import NIOCore

/// The streams of one connection: which push each carries, and what of its answer has come in.
///
/// Pure. Places are used again and again; their number is the `tag` that the session gives back.
package struct StreamTable {
    /// What a stream is for.
    package enum State: Equatable {
        /// The place is free.
        case unused
        /// Not wholly handed to the socket: the server cannot have processed it.
        case unsent
        /// Wholly handed out.
        case sent
        /// Its push has been reported; the stream itself is still there.
        case settled
        /// The same, and we asked for the stream to be reset.
        case cancelled
        /// It was reset by us and is gone, but the server may not know yet.
        case quarantined
    }

    package struct Stream {
        package var state = State.unused
        package var index: UInt16 = 0
        package var status: UInt16 = 0
        package var id: Int32 = 0
        package var retryAfter: UInt32 = 0
        package var bodyBytes = 0
        package var openedAt = NIODeadline.uptimeNanoseconds(0)
        package var batch: InFlightBatch?
        /// Of an error answer; empty for others.
        package var body: [UInt8] = []
    }

    /// What a stream's end means for its push.
    package enum Ending: Equatable {
        /// Settle the push: this is what came of it.
        case settle(APNSAnswer, unknownReason: String? = nil)
        /// The push was not processed: send it again; report this when it cannot be.
        case move(APNSAnswer)
        /// The push had been settled before.
        case nothing
    }

    package private(set) var streams: [Stream] = []
    private var unused: [UInt32] = []
    private var quarantined: [UInt32] = []
    /// How many of `quarantined` the PING under way speaks for.
    private var quarantinedBeforePing = 0
    /// Streams that the server may count as open.
    package private(set) var openCount = 0

    package init() {}

    /// Whether there is a push that waits for its answer here.
    package var carriesPush: Bool { streams.contains { $0.batch != nil } }

    /// Takes a place for a push that is about to be submitted.
    package mutating func open(_ batch: InFlightBatch, _ index: UInt16, now: NIODeadline) -> UInt32 {
        let tag: UInt32
        if let last = unused.popLast() {
            tag = last
        } else {
            tag = UInt32(streams.count)
            streams.append(Stream())
        }
        let place = Int(tag)
        streams[place].state = .unsent
        streams[place].batch = batch
        streams[place].index = index
        streams[place].openedAt = now
        openCount += 1
        return tag
    }

    package mutating func submitted(_ tag: UInt32, as id: Int32) { streams[Int(tag)].id = id }

    package mutating func sent(_ tag: UInt32) {
        if streams[Int(tag)].state == .unsent { streams[Int(tag)].state = .sent }
    }

    package mutating func statusReceived(_ status: UInt16, _ tag: UInt32) { streams[Int(tag)].status = status }
    package mutating func retryAfterReceived(_ seconds: UInt32, _ tag: UInt32) {
        streams[Int(tag)].retryAfter = seconds
    }

    /// - Returns: whether the body is longer than anything we would read.
    package mutating func bodyReceived(_ bytes: UnsafeRawBufferPointer, _ tag: UInt32) -> Bool {
        let place = Int(tag)
        streams[place].bodyBytes += bytes.count
        // The body of a 200 means nothing. One byte over the limit is kept to tell that it was passed.
        let capacity = ErrorBody.bytesMax + 1 - streams[place].body.count
        if streams[place].status != 200, capacity > 0 { streams[place].body.append(contentsOf: bytes.prefix(capacity)) }
        return streams[place].bodyBytes > ErrorBody.bytesMax
    }

    /// What the answer of a stream says. nil when the push was settled before, or there is no answer.
    package func answered(_ tag: UInt32) -> (APNSAnswer, unknownReason: String?)? { Self.answer(of: streams[Int(tag)]) }

    private static func answer(of stream: Stream) -> (APNSAnswer, unknownReason: String?)? {
        guard stream.state == .sent || stream.state == .unsent, stream.status >= 200 else { return nil }
        if stream.status == 200 { return (.accepted, nil) }
        let body = ErrorBody(stream.body)
        let answer = APNSAnswer(
            outcome: .answered, status: stream.status, reason: body.reason, timestamp: body.timestamp,
            retryAfter: stream.retryAfter
        )
        return (answer, body.unknownReason)
    }

    /// The push of a stream has been reported: whatever else comes on the stream is ignored.
    package mutating func settle(_ tag: UInt32) {
        streams[Int(tag)].state = .settled
        streams[Int(tag)].batch = nil
    }

    /// The same, for a stream that is being reset by us.
    package mutating func cancel(_ tag: UInt32) {
        streams[Int(tag)].state = .cancelled
        streams[Int(tag)].batch = nil
    }

    /// A stream was closed.
    ///
    /// - Parameter goAway: what the server said when it ended the connection, if it did.
    package static func ending(
        of stream: Stream, isRefused: Bool, goAway: (lastStream: Int32, reason: APNSReason)?
    ) -> Ending {
        switch stream.state {
        case .unused, .settled, .cancelled, .quarantined:
            return .nothing
        case .unsent, .sent:
            // Once there is a status it stands, whatever became of the rest of the answer.
            if let (answer, unknownReason) = answer(of: stream) { return .settle(answer, unknownReason: unknownReason) }
            if let goAway, stream.id > goAway.lastStream {
                return .move(APNSAnswer(outcome: .refused, reason: goAway.reason, failure: .goAway))
            }
            if isRefused { return .move(.failed(.streamRefused, .refused)) }
            // Half a push cannot be acted on.
            if stream.state == .unsent { return .move(.failed(.streamReset, .neverWritten)) }
            return .settle(.failed(.streamReset, .ambiguous))
        }
    }

    /// The connection is gone, with streams open.
    ///
    /// - Parameter goAwayLast: what the server had said it would process, if it did.
    package static func ending(
        of stream: Stream, lostBecause failure: APNSAnswer.Failure, reason: APNSReason, goAwayLast: Int32?
    ) -> Ending {
        switch stream.state {
        case .unused, .settled, .cancelled, .quarantined: return .nothing
        case .unsent, .sent:
            if let (answer, unknownReason) = answer(of: stream) { return .settle(answer, unknownReason: unknownReason) }
            if stream.state == .unsent {
                return .move(APNSAnswer(outcome: .neverWritten, reason: reason, failure: failure))
            }
            if let goAwayLast, stream.id > goAwayLast {
                return .move(APNSAnswer(outcome: .refused, reason: reason, failure: failure))
            }
            return .settle(APNSAnswer(outcome: .ambiguous, reason: reason, failure: failure))
        }
    }

    /// Gives a place back: the server knows that the stream is closed.
    package mutating func close(_ tag: UInt32) {
        let place = Int(tag)
        streams[place].state = .unused
        streams[place].batch = nil
        streams[place].status = 0
        streams[place].retryAfter = 0
        streams[place].bodyBytes = 0
        if !streams[place].body.isEmpty { streams[place].body.removeAll(keepingCapacity: true) }
        unused.append(tag)
        openCount -= 1
    }

    // MARK: Streams that we reset

    /// Holds the place of a stream that we reset until the server shows, by answering a PING, that it has seen the reset.
    ///
    /// So a server that has gone silent costs a bounded number of streams, not a new one for each that timed out.
    package mutating func quarantine(_ tag: UInt32) {
        streams[Int(tag)].state = .quarantined
        streams[Int(tag)].batch = nil
        quarantined.append(tag)
    }

    /// Whether a PING is needed that no PING under way speaks for.
    package var needsPing: Bool { quarantined.count > quarantinedBeforePing }

    package mutating func pingSent() { quarantinedBeforePing = quarantined.count }

    package mutating func pingAcknowledged() {
        for tag in quarantined.prefix(quarantinedBeforePing) { close(tag) }
        quarantined.removeFirst(quarantinedBeforePing)
        quarantinedBeforePing = 0
    }
}
