package import APNSWire
package import HTTP2Session
package import NIOCore

/// The life cycle of one HTTP/2 connection, and what its end means for the requests on it. Pure.
///
/// `APNSConnection` and `ChannelConnection` share it, so that both close by the same rules. The comment at the head of
/// `APNSConnection` draws the states.
package struct ConnectionStateMachine {
    package enum State: Sendable {
        /// Until the server's first SETTINGS frame.
        case connecting
        case ready
        /// Takes no new requests; closes when the requests in flight are done.
        case draining
        case closed
    }

    /// The GOAWAY frames received so far, as far as requests depend on them.
    package struct GoAway: Equatable {
        /// The server processes no stream above this ID.
        package var lastStream: Int32
        package var reason: APNSReason
    }

    package private(set) var state = State.connecting
    package private(set) var goAway: GoAway?
    private var drainDeadline = NIODeadline.distantFuture
    private var earlyGoAway = EarlyGoAway()

    package init() {}

    // MARK: Events

    /// To be called with all received bytes before the session reads them.
    ///
    /// - Returns: whether the session reads the bytes, or the server sent GOAWAY instead of its first SETTINGS.
    package mutating func bytesReceived(_ bytes: UnsafeRawBufferPointer) -> EarlyGoAway.Action {
        state == .connecting ? earlyGoAway.receive(bytes) : .pass(held: [])
    }

    /// - Returns: whether the connection has become ready by these SETTINGS.
    package mutating func settingsReceived() -> Bool {
        guard state == .connecting else { return false }
        state = .ready
        return true
    }

    /// - Returns: the reason in the frame.
    package mutating func goAwayReceived(_ frame: HTTP2GoAway) -> APNSReason {
        let reason = ErrorBody(frame.debugData).reason
        // A graceful server sends GOAWAY twice: first with the highest possible ID, then with the real one. Only one of
        // them may have a reason.
        goAway = GoAway(lastStream: frame.lastStream, reason: reason == .none ? goAway?.reason ?? .none : reason)
        return reason
    }

    /// - Returns: whether the connection has begun to drain by this call.
    package mutating func drain() -> Bool {
        guard state == .ready else { return false }
        state = .draining
        return true
    }

    /// Closes a draining connection at `deadline` even if requests are still in flight; the earliest deadline counts.
    package mutating func limitDraining(until deadline: NIODeadline) { drainDeadline = min(drainDeadline, deadline) }

    /// - Returns: the failure to report, which is the GOAWAY if there was one; nil when the connection is closed
    ///   already.
    package mutating func close(_ failure: APNSAnswer.Failure) -> APNSAnswer.Failure? {
        guard state != .closed else { return nil }
        state = .closed
        return goAway == nil ? failure : .goAway
    }

    // MARK: Decisions

    /// Whether the drain timeout has passed.
    package func isDrainOverdue(now: NIODeadline) -> Bool { state == .draining && drainDeadline <= now }

    /// Why the connection should be closed now; nil when it should stay open.
    ///
    /// - Parameters:
    ///   - isIdle: no request is in flight.
    ///   - isSessionOver: the session neither reads nor writes any more.
    package func closeFailure(
        isIdle: @autoclosure () -> Bool, isSessionOver: @autoclosure () -> Bool
    ) -> APNSAnswer.Failure? {
        guard state != .closed else { return nil }
        // Streams that we reset may still be open. Whether the server has seen the resets no longer matters.
        if state == .draining, isIdle() { return .connectionClosed }
        // A session ends early only when one side broke the protocol.
        return isSessionOver() ? .protocolError : nil
    }

    // MARK: Requests without a status

    /// A request that the session dropped before it wrote any byte of it.
    package var answerForDroppedRequest: APNSAnswer {
        .failed(goAway == nil ? .streamRefused : .goAway, .neverWritten)
    }

    /// A request whose stream closed before the server sent a status.
    ///
    /// - Parameter isSent: the whole request was written, or the part of it that was written may have an effect.
    package func answerForClosedStream(_ stream: Int32, isSent: Bool, isRefused: Bool) -> APNSAnswer {
        if let goAway, stream > goAway.lastStream {
            return APNSAnswer(disposition: .refused, reason: goAway.reason, failure: .goAway)
        }
        if isRefused { return .failed(.streamRefused, .refused) }
        return .failed(.streamReset, isSent ? .ambiguous : .neverWritten)
    }

    /// A request whose connection closed before the server sent a status.
    ///
    /// - Parameters:
    ///   - isSent: the whole request was written.
    ///   - failure: from `close`.
    package func answerForLostStream(_ stream: Int32, isSent: Bool, failure: APNSAnswer.Failure) -> APNSAnswer {
        let isAboveLast = goAway.map { stream > $0.lastStream } ?? false
        let disposition: APNSAnswer.Disposition = !isSent ? .neverWritten : isAboveLast ? .refused : .ambiguous
        return APNSAnswer(disposition: disposition, reason: goAway?.reason ?? .none, failure: failure)
    }
}
