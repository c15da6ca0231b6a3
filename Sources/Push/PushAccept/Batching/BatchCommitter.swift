import APNSWire
package import Logging
import PushConcurrency
package import PushModel
package import PushStore
import Synchronization

/// Makes batches durable and hands them to dispatch: the last step of acceptance, the same for all routes.
///
/// The bytes that are being written are bounded, for all requests together. Beyond the bound, commits wait.
package final class BatchCommitter: Sendable {
    private let queue: any DurableQueue
    /// `queue`, if it can append without a task.
    private let completionQueue: (any CompletionQueue)?
    private let idempotentQueue: (any IdempotentQueue)?
    private let handoff: any DirectHandoff
    private let delay: @Sendable (AppEnvironment) -> DeliveryDelay?
    private let devices: DeviceLimiter?
    private let leaseDuration: Duration
    /// Bytes of pushes that are being written.
    private let appendBytes: AsyncSemaphore
    private let metrics: AcceptMetrics
    private let wallClock: @Sendable () -> WallTime
    private let logger: Logger
    /// Whether the last write failed. An outage of the store is logged once, not for each request.
    private let isFailing = Atomic<Bool>(false)

    /// - Parameters:
    ///   - idempotentQueue: `queue`, if it can store responses.
    ///   - leaseDuration: lease of a batch that is handed directly to dispatch.
    ///   - bytesMax: limit of the bytes that are being written.
    ///   - delay: why pushes that are accepted now will wait; nil if they will not. Must not block.
    ///   - devices: the limiter that has counted the pushes to be committed.
    package init(
        queue: any DurableQueue, idempotentQueue: (any IdempotentQueue)?, handoff: any DirectHandoff,
        leaseDuration: Duration, bytesMax: Int, delay: @escaping @Sendable (AppEnvironment) -> DeliveryDelay?,
        devices: DeviceLimiter?,
        metrics: AcceptMetrics, wallClock: @escaping @Sendable () -> WallTime, logger: Logger
    ) {
        self.queue = queue
        completionQueue = queue as? any CompletionQueue
        self.idempotentQueue = idempotentQueue
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

    /// Why pushes that are accepted now for the app and environment of `batch` will wait; nil if they will not.
    package func delay(of batch: Batch) -> DeliveryDelay? { delay(batch.appEnvironment) }

    /// Subtracts a batch that will not be committed from the device limits.
    package func discard(_ batch: Batch) { devices?.refund(batch) }

    /// Makes `batches` durable, all or none, and hands them to dispatch.
    ///
    /// - Returns: nil once the batches are durable; otherwise an error, which states whether the outcome is known.
    package func commit(_ batches: [Batch]) async -> QueueError? { await commit(batches, storing: [:]) }

    /// - Parameter responses: stored in the same write.
    func commit(_ batches: [Batch], storing responses: [IdempotencyKey: IdempotencyRecord]) async -> QueueError? {
        await withCheckedContinuation { continuation in
            commit(batches, storing: responses) { continuation.resume(returning: $0) }
        }
    }

    /// The same without a task.
    ///
    /// - Parameter completion: called once, on any thread, perhaps before the call returns. It must not wait.
    func commit(
        _ batches: [Batch], storing responses: [IdempotencyKey: IdempotencyRecord],
        completion: @escaping @Sendable (QueueError?) -> Void
    ) {
        let bytes = min(batches.reduce(0) { $0 + $1.notifications.byteCount }, appendBytes.capacity)
        let write = { @Sendable [self] in
            append(batches, storing: responses) { error in
                self.appendBytes.release(bytes)
                completion(error)
            }
        }
        if appendBytes.tryAcquire(bytes) {
            write()
        } else {
            inBackground {
                await self.appendBytes.acquire(bytes)
                write()
            }
        }
    }

    private func append(
        _ batches: [Batch], storing responses: [IdempotencyKey: IdempotencyRecord],
        completion: @escaping @Sendable (QueueError?) -> Void
    ) {
        let now = wallClock()
        let reservations = batches.map { batch in
            // A batch with a push that is not due is claimed from the store.
            batch.lastDue <= now
                ? handoff.reserve(pushes: batch.count, for: batch.appEnvironment, lane: batch.lane) : nil
        }
        let started = ContinuousClock.now
        let new = zip(batches, reservations).map { NewBatch(batch: $0, claim: $1 == nil ? nil : leaseDuration) }
        let finish = { @Sendable [self] (result: Result<[Lease?], QueueError>) in
            switch result {
            case .success(let leases):
                metrics.appended(batches, in: .now - started)
                succeeded(batches, leases, reservations)
                completion(nil)
            case .failure(let error):
                failed(batches, reservations, error)
                completion(error)
            }
        }
        if let completionQueue, responses.isEmpty {
            completionQueue.append(new, completion: finish)
        } else {
            inBackground {
                do throws(QueueError) {
                    finish(.success(try await self.append(new, storing: responses)))
                } catch {
                    finish(.failure(error))
                }
            }
        }
    }

    private func append(
        _ batches: [NewBatch], storing responses: [IdempotencyKey: IdempotencyRecord]
    ) async throws(QueueError) -> [Lease?] {
        guard !responses.isEmpty else { return try await queue.append(batches) }
        guard let idempotentQueue else { preconditionFailure("the store cannot store responses") }
        return try await idempotentQueue.append(batches, storing: responses)
    }

    private func succeeded(_ batches: [Batch], _ leases: [Lease?], _ reservations: [HandoffReservation?]) {
        if isFailing.exchange(false, ordering: .relaxed) { logger.info("store accepts pushes again") }
        for (index, batch) in batches.enumerated() {
            if let lease = leases[index], let reservation = reservations[index] {
                handoff.deliver(ClaimedBatch(lease: lease, batch: batch), to: reservation)
            } else {
                if let reservation = reservations[index] { handoff.cancel(reservation) }
                handoff.notifyBacklog(of: batch.appEnvironment, lane: batch.lane)
            }
        }
    }

    private func failed(_ batches: [Batch], _ reservations: [HandoffReservation?], _ error: QueueError) {
        if error != .idempotencyKeyUsed { metrics.appendFailed() }
        if error != .idempotencyKeyUsed, !isFailing.exchange(true, ordering: .relaxed) {
            logger.error("store does not accept pushes", metadata: ["error": "\(error)"])
        }
        for (index, batch) in batches.enumerated() {
            if let reservation = reservations[index] { handoff.cancel(reservation) }
            // The batch may be durable, and then only this notifies dispatch of it.
            if error.isOutcomeUnknown {
                handoff.notifyBacklog(of: batch.appEnvironment, lane: batch.lane)
            } else {
                discard(batch)
            }
        }
    }
}

extension QueueError {
    /// The code in the response.
    var code: ErrorCode {
        switch self {
        case .unavailable, .broken, .idempotencyKeyUsed: .storeUnavailable
        case .full: .queueFull
        case .closed: .shuttingDown
        }
    }

    /// Whether the pushes may be durable nevertheless.
    var isOutcomeUnknown: Bool {
        if case .unavailable(_, isOutcomeKnown: false) = self { return true }
        return false
    }
}
