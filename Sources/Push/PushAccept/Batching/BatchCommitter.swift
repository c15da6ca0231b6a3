import APNSWire
package import Logging
import PushConcurrency
package import PushModel
package import PushStore
import Synchronization

/// Makes batches durable and hands them to dispatch: the last step of accept, the same for all routes.
///
/// What is on its way into the store is bounded in bytes over all requests; who comes past the bound waits for room.
package final class BatchCommitter: Sendable {
    private let queue: any DurableQueue
    private let storing: (any IdempotentQueue)?
    private let handoff: any DirectHandoff
    private let delay: @Sendable (AppID) -> DeliveryDelay?
    private let devices: DeviceLimiter?
    private let leaseDuration: Duration
    /// Bytes of pushes on their way into the store.
    private let appendBytes: AsyncSemaphore
    private let metrics: AcceptMetrics
    private let wallClock: @Sendable () -> WallTime
    private let logger: Logger
    /// The last write failed. A store that is down is worth one line, not one for each request.
    private let isFailing = Atomic<Bool>(false)

    /// - Parameters:
    ///   - remembering: `queue` again, if it remembers answers.
    ///   - leaseDuration: how long a batch that is handed to dispatch at once stays claimed.
    ///   - bytesMax: what may be on its way into the store at any moment.
    ///   - outlook: why pushes of an app that are stored now will wait; nil when they will not. Must not block.
    ///   - devices: has counted the pushes that are to be committed.
    package init(
        queue: any DurableQueue, storing: (any IdempotentQueue)?, handoff: any DirectHandoff,
        leaseDuration: Duration, bytesMax: Int, delay: @escaping @Sendable (AppID) -> DeliveryDelay?,
        devices: DeviceLimiter?,
        metrics: AcceptMetrics, wallClock: @escaping @Sendable () -> WallTime, logger: Logger
    ) {
        self.queue = queue
        self.storing = storing
        self.handoff = handoff
        self.delay = delay
        self.devices = devices
        self.leaseDuration = leaseDuration
        self.metrics = metrics
        self.wallClock = wallClock
        self.logger = logger
        appendBytes = AsyncSemaphore(capacity: bytesMax)
    }

    package var now: WallTime { wallClock() }

    package func newBatchID() -> BatchID { .random(at: wallClock()) }

    /// Why pushes of `app` that are stored now will wait; nil when they will not.
    package func delay(of app: AppID) -> DeliveryDelay? { delay(app) }

    /// A batch that was taken is not going to be stored.
    package func forget(_ batch: Batch) { devices?.giveBack(batch) }

    /// Makes `batches` durable, all or none, and passes them on.
    ///
    /// - Parameter answers: remembered by the same write.
    /// - Returns: nil once they are durable. An error says what is known, see `QueueError`.
    package func commit(
        _ batches: [Batch], storing answers: [IdempotencyKey: IdempotencyRecord] = [:]
    ) async -> QueueError? {
        let bytes = min(batches.reduce(0) { $0 + $1.notifications.byteCount }, appendBytes.capacity)
        await appendBytes.acquire(bytes)
        defer { appendBytes.release(bytes) }

        let now = wallClock()
        let rooms = batches.map { batch in
            // A batch for later is not for dispatch yet.
            (batch.notBefore ?? now) <= now
                ? handoff.reserve(pushes: batch.count, for: batch.app, lane: batch.lane) : nil
        }
        let started = ContinuousClock.now
        do {
            let new = zip(batches, rooms).map { NewBatch(batch: $0, claim: $1 == nil ? nil : leaseDuration) }
            let leases: [Lease?]
            if answers.isEmpty {
                leases = try await queue.append(new)
            } else {
                guard let storing else { preconditionFailure("answers for a store that does not remember them") }
                leases = try await storing.append(new, storing: answers)
            }
            metrics.appended(batches, in: .now - started)
            if isFailing.exchange(false, ordering: .relaxed) { logger.info("the store takes pushes again") }
            for (index, batch) in batches.enumerated() {
                if let lease = leases[index], let capacity = rooms[index] {
                    handoff.deliver(ClaimedBatch(lease: lease, batch: batch), to: capacity)
                } else {
                    if let capacity = rooms[index] { handoff.cancel(capacity) }
                    handoff.notifyBacklog(of: batch.app, lane: batch.lane)
                }
            }
            return nil
        } catch {
            metrics.appendFailed()
            if !isFailing.exchange(true, ordering: .relaxed) {
                logger.error("the store does not take pushes", metadata: ["error": "\(error)"])
            }
            for (index, batch) in batches.enumerated() {
                if let capacity = rooms[index] { handoff.cancel(capacity) }
                // It may be in the store for all we know, and then nobody else tells dispatch.
                if error.isOutcomeUnknown {
                    handoff.notifyBacklog(of: batch.app, lane: batch.lane)
                } else {
                    forget(batch)
                }
            }
            return error
        }
    }
}

extension QueueError {
    /// What a caller is told.
    var code: ErrorCode {
        switch self {
        case .unavailable, .broken: .storeUnavailable
        case .full: .queueFull
        case .closed: .shuttingDown
        }
    }

    /// Whether the pushes may be in the store all the same.
    var isOutcomeUnknown: Bool {
        if case .unavailable(_, isOutcomeKnown: false) = self { return true }
        return false
    }
}
