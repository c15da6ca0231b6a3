import Logging
import NIOCore
import PushModel

/// Tells the log who did what to pushes that wait: the kind of act and how many, never which pushes.
///
/// "Who" is the peer's address and the request's id: callers are not told apart by keys, and a header that nobody checks
/// proves nothing.
struct ControlAudit: Sendable {
    enum Act: String, Sendable {
        case pause = "app paused"
        case resume = "app resumed"
        case cancel = "pushes cancelled"
        case replay = "dead letters replayed"
        case purge = "dead letters purged"
    }

    let logger: Logger

    func done(_ act: Act, by caller: AcceptContext, _ metadata: Logger.Metadata) {
        logger.notice("\(act.rawValue)", metadata: Self.who(caller).merging(metadata) { $1 })
    }

    /// The store has not done it, or not all of it, or not said so.
    func failed(_ act: Act, by caller: AcceptContext, _ metadata: Logger.Metadata, _ error: any Error) {
        let what: Logger.Metadata = ["act": "\(act.rawValue)", "error": "\(error)"]
        logger.warning(
            "a control request has failed, or is done in part",
            metadata: Self.who(caller).merging(metadata) { $1 }.merging(what) { $1 }
        )
    }

    private static func who(_ caller: AcceptContext) -> Logger.Metadata {
        [
            "client.address": "\(caller.channel.remoteAddress?.ipAddress ?? "unknown")",
            "request.id": "\(caller.requestID)",
        ]
    }
}
