package import Logging
import PushModel
import Synchronization

/// The bytes that all connections hold in memory together: input that is not processed yet, results, and responses that
/// the client has not read.
///
/// Half of the limit is for requests whose client does not read: beyond it they accept nothing more. Beyond the whole
/// limit, new work is refused; health checks, metrics and control requests are still served. The count is an estimate:
/// what is bounded elsewhere, such as the buffer of a connection that is read, is not in it.
package final class HeldBytes: Sendable {
    package let max: Int
    private let count = Atomic<Int>(0)
    /// Whether the limit was reached since the log was last written.
    private let isLogged = Atomic<Bool>(false)
    private let logger: Logger

    package init(max: Int, logger: Logger) {
        self.max = max
        self.logger = logger
    }

    package var bytes: Int { count.load(ordering: .relaxed) }

    /// Whether requests that hold much must accept nothing more.
    var isScarce: Bool { bytes > max / 2 }

    /// Whether new work is refused.
    var isExhausted: Bool { bytes >= max }

    /// - Parameter difference: negative if bytes are released.
    func add(_ difference: Int) {
        guard difference != 0 else { return }
        let new = count.add(difference, ordering: .relaxed).newValue
        if difference > 0, new >= max, !isLogged.exchange(true, ordering: .relaxed) {
            logger.error(
                "new requests are refused: too many bytes are held", metadata: ["held.bytes": .stringConvertible(new)])
        } else if difference < 0, new < max / 2, isLogged.load(ordering: .relaxed),
            isLogged.exchange(false, ordering: .relaxed)
        {
            logger.notice("held bytes are below the limit again", metadata: ["held.bytes": .stringConvertible(new)])
        }
    }

    /// Why a request for new work is refused. Nil: it is not.
    func refusal(retryAfter: Int) -> Problem? {
        guard isExhausted else { return nil }
        return Problem(
            busy: .overloaded,
            "too many bytes of requests and responses are held; the request was not carried out, send it again in \(retryAfter) s",
            retryAfter: retryAfter
        )
    }
}

/// The share of one owner in `HeldBytes`. Returns it when the owner is gone.
struct HeldShare: ~Copyable {
    private let held: HeldBytes
    private(set) var bytes = 0

    init(of held: HeldBytes) {
        self.held = held
    }

    deinit { held.add(-bytes) }

    mutating func set(_ new: Int) {
        held.add(new - bytes)
        bytes = new
    }
}
