package import Logging
import PushModel
package import PushStore
import Synchronization

/// Learns which settlements have become durable.
package protocol OutcomeObserver: AnyObject, Sendable {
    /// The store has recorded that pushes of these batches are about to be sent.
    func announced(_ leases: [Lease])
    /// The store has recorded everything handed in for these batches under `release`, or the batches are finished.
    func settled(_ leases: [Lease])
    /// The store refused these: somebody else owns the batches now. What was sent for them may be sent again.
    func refused(_ leases: [Lease])
}

/// Records verdicts until they are durable.
///
/// Outcomes of all batches in progress gather while a write is under way and go out together in the next one, so a
/// slow push delays nobody's answer and a crash repeats little. A write that fails is tried again until the store takes
/// it; nothing is ever dropped. What bounds the memory is the dispatcher: its room is given back by `settled` only.
package final class OutcomeRecorder: Sendable {
    package struct Configuration: Sendable {
        /// How long the first outcome waits for others before it is written.
        package var gatherFor: Duration = .milliseconds(5)
        /// Pause after a write that failed, doubled up to 32 times this.
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

    /// Takes news of one batch; returns at once.
    package func record(_ settlement: Settlement) {
        buffer.withLock { $0.record(settlement) }
        signal.set()
    }

    /// True when nothing waits and nothing is being written.
    package var isIdle: Bool { buffer.withLock { $0.isIdle } }

    /// Makes `run` return once everything recorded so far is durable.
    package func finish() {
        buffer.withLock { $0.finish() }
        signal.set()
    }

    /// Writes until `finish` was called and everything is durable, or the task is cancelled.
    ///
    /// - Throws: `QueueError.broken` or `.closed`, after which nothing can be recorded any more.
    package func run(observer: any OutcomeObserver) async throws(QueueError) {
        while !Task.isCancelled {
            await signal.wait()
            // A cancelled sleep returns early, which is what we want.
            if !buffer.withLock({ $0.isShutdownForced }) { try? await Task.sleep(for: configuration.gatherFor) }
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
                let durable = buffer.withLock { $0.wrote(stale: stale) }
                if !stale.isEmpty {
                    logger.warning("settlements refused as stale", metadata: ["batches": "\(stale.count)"])
                    observer.refused(stale)
                }
                if !durable.announced.isEmpty { observer.announced(durable.announced) }
                return observer.settled(durable.ended)
            } catch {
                guard error.isPassing else { throw error }
                logger.warning("outcomes could not be recorded, trying again", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: pause)
            if Task.isCancelled { throw .closed }
            pause = min(pause * 2, configuration.retryPause * 32)
        }
    }
}
