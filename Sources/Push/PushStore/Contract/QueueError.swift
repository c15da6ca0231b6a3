/// A failure of the store. Nothing was changed, except where a case says otherwise.
package enum QueueError: Error, Equatable, CustomStringConvertible {
    /// No response, or a transient error. If `isOutcomeKnown` is false, the write may have happened.
    case unavailable(String, isOutcomeKnown: Bool)
    /// A request with one of the idempotency keys was accepted before, perhaps by another instance: its response is
    /// stored. Nothing was written.
    case idempotencyKeyUsed
    /// Out of capacity: disk, quota or limit. Nothing was written.
    case full(String)
    /// The store is damaged or a sync failed. This process must not accept new pushes.
    case broken(String)
    case closed

    /// Whether the same call may succeed later.
    package var isTransient: Bool {
        switch self {
        case .unavailable, .full: true
        case .idempotencyKeyUsed, .broken, .closed: false
        }
    }

    package var description: String {
        switch self {
        case .unavailable(let reason, _): "the queue is unavailable: \(reason)"
        case .idempotencyKeyUsed: "the idempotency key has a stored response"
        case .full(let reason): "the queue is full: \(reason)"
        case .broken(let reason): "the queue is broken: \(reason)"
        case .closed: "the queue is closed"
        }
    }
}
