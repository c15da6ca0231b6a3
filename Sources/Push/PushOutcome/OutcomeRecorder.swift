import Logging
import PushModel
import PushQueue
import Synchronization

/// Learns which settlements have become durable.
package protocol OutcomeObserver: AnyObject, Sendable {
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

    private struct State {
        /// Settlements not yet handed to the store, by batch.
        var pending: [Lease: Settlement] = [:]
        var isWriting = false
        var isFinished = false
    }

    private let queue: any DurableQueue
    private let configuration: Configuration
    private let logger: Logger
    private let state = Mutex(State())
    private let signal = Signal()

    package init(queue: any DurableQueue, configuration: Configuration = Configuration(), logger: Logger) {
        self.queue = queue
        self.configuration = configuration
        self.logger = logger
    }

    /// Takes news of one batch; returns at once.
    package func record(_ settlement: Settlement) {
        state.withLock { state in
            guard state.pending[settlement.lease] != nil else {
                state.pending[settlement.lease] = settlement
                return
            }
            state.pending[settlement.lease]!.merge(settlement)
        }
        signal.set()
    }

    /// True when nothing waits and nothing is being written.
    package var isIdle: Bool { state.withLock { $0.pending.isEmpty && !$0.isWriting } }

    /// Makes `run` return once everything recorded so far is durable.
    package func finish() {
        state.withLock { $0.isFinished = true }
        signal.set()
    }

    /// Writes until `finish` was called and everything is durable, or the task is cancelled.
    ///
    /// - Throws: `QueueError.broken` or `.closed`, after which nothing can be recorded any more.
    package func run(observer: any OutcomeObserver) async throws(QueueError) {
        while !Task.isCancelled {
            await signal.wait()
            let isFinished = state.withLock { $0.isFinished }
            // A cancelled sleep returns early, which is what we want.
            if !isFinished { try? await Task.sleep(for: configuration.gatherFor) }
            let settlements = state.withLock { state in
                defer { state.pending.removeAll(keepingCapacity: true) }
                state.isWriting = !state.pending.isEmpty
                return Array(state.pending.values)
            }
            if !settlements.isEmpty { try await write(settlements, observer: observer) }
            let isDone = state.withLock { state in
                state.isWriting = false
                return state.isFinished && state.pending.isEmpty
            }
            if isDone { return }
        }
    }

    private func write(_ settlements: [Settlement], observer: any OutcomeObserver) async throws(QueueError) {
        var pause = configuration.retryPause
        while true {
            do {
                let stale = try await queue.settle(settlements)
                if !stale.isEmpty {
                    logger.warning("settlements refused as stale", metadata: ["batches": "\(stale.count)"])
                    observer.refused(stale)
                }
                let refused = Set(stale)
                observer.settled(
                    settlements.filter { $0.release == .release && !refused.contains($0.lease) }.map(\.lease))
                return
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

extension Settlement {
    /// Adds later news of the same batch.
    package mutating func merge(_ later: Settlement) {
        precondition(lease == later.lease, "settlements of different batches")
        outcomes.append(contentsOf: later.outcomes)
        retries.append(contentsOf: later.retries)
        if later.release == .release { release = .release }
        at = max(at, later.at)
    }
}
