import Logging
import NIOCore
import PushModel

/// Logs control requests: the action, its caller and the number of pushes, but never which pushes.
///
/// A caller is the address of the client and the request id.
struct ControlAudit: Sendable {
    enum Action: String, Sendable {
        case pause = "app paused"
        case resume = "app resumed"
        case cancel = "pushes cancelled"
        case replay = "dead letters replayed"
        case purge = "dead letters purged"
    }

    let logger: Logger

    func succeeded(_ action: Action, by caller: AcceptContext, _ metadata: Logger.Metadata) {
        logger.notice("\(action.rawValue)", metadata: Self.metadata(of: caller).merging(metadata) { $1 })
    }

    /// Logs a request that the store did not execute, executed in part, or did not confirm.
    func failed(_ action: Action, by caller: AcceptContext, _ metadata: Logger.Metadata, _ error: any Error) {
        let failure: Logger.Metadata = ["action": "\(action.rawValue)", "error": "\(error)"]
        logger.warning(
            "control request failed, or was executed in part",
            metadata: Self.metadata(of: caller).merging(metadata) { $1 }.merging(failure) { $1 }
        )
    }

    private static func metadata(of caller: AcceptContext) -> Logger.Metadata {
        [
            "client.address": "\(caller.head.caller.address?.description ?? "unknown")",
            "request.id": "\(caller.requestID)",
        ]
    }
}
