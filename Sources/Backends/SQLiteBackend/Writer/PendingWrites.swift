import PushStore

/// The calls that wait for the next transaction. Bounded by their number and by the bytes they want to write.
struct PendingWrites: Sendable {
    enum Action: Sendable {
        /// Somebody drains the inbox already.
        case wait
        /// Nobody drains: start.
        case drain
        case refuse(QueueError)
    }

    private let bytesMax: Int
    private let callsMax: Int
    private var calls: [Call] = []
    private var bytes = 0
    private var isDraining = false
    private var isClosed = false
    /// Set once and for all by the first error that shows that the store cannot be trusted.
    var broken: QueueError?

    init(bytesMax: Int, callsMax: Int) {
        self.bytesMax = bytesMax
        self.callsMax = callsMax
    }

    var count: Int { calls.count }
    var isEmpty: Bool { calls.isEmpty }

    /// - Parameter isLast: everything that comes later is refused as closed.
    mutating func offer(_ call: Call, isLast: Bool) -> Action {
        if isClosed { return .refuse(.closed) }
        isClosed = isLast
        if let broken { return .refuse(broken) }
        // One call is always let in, however large: the limit is on what waits beside it.
        guard calls.isEmpty || isLast || (bytes + call.bytes <= bytesMax && calls.count < callsMax) else {
            return .refuse(.full("\(calls.count) writes of \(bytes) bytes wait for the disk"))
        }
        calls.append(call)
        bytes += call.bytes
        if isDraining { return .wait }
        isDraining = true
        return .drain
    }

    /// Empty: nobody drains any more.
    mutating func takeAll() -> [Call] {
        defer {
            calls = []
            bytes = 0
        }
        if calls.isEmpty { isDraining = false }
        return calls
    }
}
