package import Logging
package import PushModel
package import PushStore
import Synchronization

/// Maintains the store: sends the heartbeat of its owner, samples its depth and size, settles expired pushes, prunes old
/// records and reclaims free space, in steps short enough not to delay pushes.
package final class StoreMaintenanceService: Sendable {
    /// Depth and size of the store at one time.
    package struct Sample: Sendable, Equatable {
        package var depth = QueueDepth()
        package var usage: StoreUsage?
        package var at = WallTime(milliseconds: 0)

        /// Age of the app's oldest batch that is due and not claimed; nil if there is none.
        package func oldestDueAge(of app: AppID) -> Duration? {
            depth.oldestDue[app].map { .milliseconds(max(0, at.milliseconds - $0.milliseconds)) }
        }
    }

    private static let interval: Duration = .seconds(1)
    /// Pause after a prune that left nothing to remove.
    private static let pruneInterval: Duration = .seconds(60)
    private static let pruneBatchesMax = 100
    private static let expireBatchesMax = 100
    /// Pause between two steps, during which pushes are written.
    private static let stepPause: Duration = .milliseconds(20)

    private let queue: any DurableQueue
    private let store: any StoreMaintenance
    private let heartbeat: @Sendable () -> Void
    private let retention: Duration
    private let wallClock: @Sendable () -> WallTime
    private let observe: @Sendable (Sample) -> Void
    private let logger: Logger
    private let latest = Mutex(Sample())

    /// - Parameters:
    ///   - heartbeat: renews the ownership of the store. It also detects that another process has taken over the store,
    ///     which then refuses all further calls.
    ///   - retention: how long outcomes and dead letters are kept.
    ///   - observe: receives each sample.
    package init(
        queue: any DurableQueue, store: any StoreMaintenance, heartbeat: @escaping @Sendable () -> Void,
        retention: Duration, wallClock: @escaping @Sendable () -> WallTime,
        observe: @escaping @Sendable (Sample) -> Void, logger: Logger
    ) {
        self.queue = queue
        self.store = store
        self.heartbeat = heartbeat
        self.retention = retention
        self.wallClock = wallClock
        self.observe = observe
        self.logger = logger
    }

    package var latestSample: Sample { latest.withLock { $0 } }

    /// Samples, settles expired pushes and reclaims once a second and prunes once a minute, until the task is cancelled.
    ///
    /// - Throws: an error after which the store cannot be used any more.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    self.heartbeat()
                    try await self.sample()
                    try? await Task.sleep(for: Self.interval)
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    try await self.prune()
                    try? await Task.sleep(for: Self.pruneInterval)
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    let continues = try await self.reclaim()
                    try? await Task.sleep(for: continues ? Self.stepPause : Self.interval)
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    let continues = try await self.expire()
                    try? await Task.sleep(for: continues ? Self.stepPause : Self.interval)
                }
            }
            // Not `waitForAll`: it would wait for the other task, which never ends, before it rethrows the first error.
            while try await group.next() != nil {}
        }
    }

    private func sample() async throws {
        do {
            let sample = Sample(depth: try await queue.depth(), usage: await store.usage(), at: wallClock())
            latest.withLock { $0 = sample }
            observe(sample)
        } catch {
            guard error.isTransient else { throw error }
            logger.warning("queue depth could not be read", metadata: ["error": "\(error)"])
        }
    }

    private func prune() async throws {
        do throws(QueueError) {
            while !Task.isCancelled {
                let now = wallClock()
                let mayHoldMore = try await store.prune(
                    endedBefore: WallTime(milliseconds: now.milliseconds - retention.milliseconds),
                    batchesMax: Self.pruneBatchesMax, now: now
                )
                guard mayHoldMore else { return }
                try? await Task.sleep(for: Self.stepPause)
            }
        } catch {
            guard error.isTransient else { throw error }
            logger.warning("old records could not be pruned", metadata: ["error": "\(error)"])
        }
    }

    private func expire() async throws -> Bool {
        do throws(QueueError) {
            return try await store.expire(batchesMax: Self.expireBatchesMax)
        } catch {
            guard error.isTransient else { throw error }
            logger.warning("expired pushes could not be settled", metadata: ["error": "\(error)"])
            return false
        }
    }

    private func reclaim() async throws -> Bool {
        do throws(QueueError) {
            return try await store.reclaim()
        } catch {
            guard error.isTransient else { throw error }
            logger.warning("free space could not be reclaimed", metadata: ["error": "\(error)"])
            return false
        }
    }
}
