package import Logging
import PushConcurrency
import PushModel
package import PushStore
import Synchronization

/// Receives the result of each write of settlements.
package protocol OutcomeObserver: AnyObject, Sendable {
    /// The store has recorded that pushes of these batches are about to be sent.
    func announced(_ leases: [Lease])
    /// The store has recorded the last settlement of these batches, and their leases have ended.
    func settled(_ leases: [Lease])
    /// The store refused settlements under these leases: another instance owns the batches. Their pushes may be sent
    /// again.
    func refused(_ leases: [Lease])
}

/// Writes settlements to the store until they are durable.
///
/// Settlements of all batches gather during a write and are written together in the next one. So a slow push delays no
/// other outcome, and a crash repeats few pushes. A failed write is repeated until it succeeds; nothing is dropped. The
/// dispatcher bounds the memory: its capacity becomes free with `settled` only.
package final class OutcomeRecorder: Sendable {
    package struct Configuration: Sendable {
        /// How long the first outcome waits for others before it is written.
        package var gatherFor: Duration = .milliseconds(5)
        /// Pause after a failed write. It doubles with each failure, up to 32 times this value.
        package var retryPause: Duration = .milliseconds(100)

        package init() {}
    }

    private let queue: any DurableQueue
    private let configuration: Configuration
    private let logger: Logger
    private let buffer = Mutex(OutcomeBuffer())
    private let signal = AsyncSignal()

    package init(queue: any DurableQueue, configuration: Configuration = Configuration(), logger: Logger) {
        self.queue = queue
        self.configuration = configuration
        self.logger = logger
    }

    /// Adds a settlement to the next write; returns immediately.
    package func record(_ settlement: Settlement) {
        buffer.withLock { $0.record(settlement) }
        signal.set()
    }

    /// Whether no settlement is pending or being written.
    package var isIdle: Bool { buffer.withLock { $0.isIdle } }

    /// Makes `run` return after everything recorded so far is durable.
    package func finish() {
        buffer.withLock { $0.finish() }
        signal.set()
    }

    /// Writes until `finish` was called and everything is durable, or the task is cancelled.
    ///
    /// - Throws: `QueueError.broken` or `.closed`; nothing can be recorded afterwards.
    package func run(observer: any OutcomeObserver) async throws(QueueError) {
        while !Task.isCancelled {
            await signal.wait()
            // A cancelled task skips the rest of the sleep and writes immediately.
            if !buffer.withLock({ $0.isFinishing }) { try? await Task.sleep(for: configuration.gatherFor) }
            try await write(observer: observer)
            if buffer.withLock({ $0.isDone }) { return }
        }
    }

    private func write(observer: any OutcomeObserver) async throws(QueueError) {
        var pause = configuration.retryPause
        while true {
            let settlements = buffer.withLock { $0.beginWrite() }
            guard !settlements.isEmpty else { return }
            do {
                let stale = try await queue.settle(settlements)
                let durable = buffer.withLock { $0.confirmWrite(stale: stale) }
                if !stale.isEmpty {
                    logger.warning(
                        "settlements refused as stale", metadata: ["batches": .stringConvertible(stale.count)])
                    observer.refused(stale)
                }
                if !durable.announced.isEmpty { observer.announced(durable.announced) }
                return observer.settled(durable.ended)
            } catch {
                guard error.isTransient else { throw error }
                logger.warning("writing outcomes failed, retrying", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: pause)
            if Task.isCancelled { throw .closed }
            pause = min(pause * 2, configuration.retryPause * 32)
        }
    }
}
