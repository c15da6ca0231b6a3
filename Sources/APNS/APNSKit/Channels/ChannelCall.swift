import APNSWire
import NIOCore

/// A request about a channel inside the client. Ends exactly once.
///
/// Used on the client's event loop only.
final class ChannelCall {
    enum Resolution: Sendable {
        case answered(ChannelResponse)
        /// There is no answer; the disposition is never `answered`.
        case failed(APNSAnswer)
    }

    let request: ChannelRequest
    var machine = ChannelCallStateMachine()
    /// Why the last attempt was not processed, if it was not.
    var lastNotProcessed: APNSAnswer?
    /// The connection that carries the request, if any does.
    weak var connection: ChannelConnection?
    /// Fires at the deadline.
    var deadlineTimer: Scheduled<Void>?
    private let onEnd: (Resolution) -> Void
    private(set) var isEnded = false

    init(_ request: ChannelRequest, onEnd: @escaping (Resolution) -> Void) {
        self.request = request
        self.onEnd = onEnd
    }

    func end(_ resolution: Resolution) {
        precondition(!isEnded, "a call ends once")
        isEnded = true
        connection = nil
        deadlineTimer?.cancel()
        onEnd(resolution)
    }
}
