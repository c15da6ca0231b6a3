import GRDB
import PushStore

/// One call that waits for its transaction.
struct PendingCall: Sendable {
    var bytes: Int
    /// Whether the call fails first on a full disk.
    var yields: Bool
    /// Returns a closure that reports success, for after the commit.
    var run: @Sendable (Database, inout QueueState) throws -> @Sendable () -> Void
    var fail: @Sendable (QueueError) -> Void
}

/// The queue of calls for the next transaction, bounded by their number and by the bytes they write.
struct PendingWrites: Sendable {
    enum Action: Sendable {
        /// A drain is in progress and will take the call.
        case wait
        /// Start a drain.
        case drain
        case refuse(QueueError)
    }

    private let bytesMax: Int
    private let callsMax: Int
    private var calls: [PendingCall] = []
    private var bytes = 0
    private var isDraining = false
    private var isClosed = false
    /// Set permanently by the first error after which the store cannot be trusted.
    var broken: QueueError?

    init(bytesMax: Int, callsMax: Int) {
        self.bytesMax = bytesMax
        self.callsMax = callsMax
    }

    var count: Int { calls.count }
    var isEmpty: Bool { calls.isEmpty }

    /// - Parameter isLast: all later calls are refused as closed.
    mutating func offer(_ call: PendingCall, isLast: Bool) -> Action {
        if isClosed { return .refuse(.closed) }
        isClosed = isLast
        if let broken { return .refuse(broken) }
        // A call is always accepted while no other waits, whatever its size.
        guard calls.isEmpty || isLast || (bytes + call.bytes <= bytesMax && calls.count < callsMax) else {
            return .refuse(.full("\(calls.count) writes of \(bytes) bytes wait for the disk"))
        }
        calls.append(call)
        bytes += call.bytes
        if isDraining { return .wait }
        isDraining = true
        return .drain
    }

    /// - Returns: all calls; if there are none, the drain is over.
    mutating func takeAll() -> [PendingCall] {
        defer {
            calls = []
            bytes = 0
        }
        if calls.isEmpty { isDraining = false }
        return calls
    }
}
