package import Logging
package import PushModel
package import PushStore
import Synchronization

/// Looks after the store: says that its owner lives, measures how full it is, and forgets what is old, in steps so short
/// that nobody waits for them.
package final class StoreMaintenanceService: Sendable {
    /// How things stood at the last look.
    package struct Sample: Sendable, Equatable {
        package var depth = QueueDepth()
        package var usage: StoreUsage?
        package var at = WallTime(milliseconds: 0)

        /// Age of the oldest batch of an app that is due and waits.
        package func oldestDueAge(of app: AppID) -> Duration? {
            depth.oldestDue[app].map { .milliseconds(max(0, at.milliseconds - $0.milliseconds)) }
        }
    }

    private static let interval: Duration = .seconds(1)
    /// Between two looks for something to forget, once there was nothing more.
    private static let pruneInterval: Duration = .seconds(60)
    private static let pruneBatchesMax = 100
    /// Between two steps of forgetting, so that pushes come in between.
    private static let prunePause: Duration = .milliseconds(20)

    private let queue: any DurableQueue
    private let store: any StoreMaintenance
    private let heartbeat: @Sendable () -> Void
    private let retention: Duration
    private let wallClock: @Sendable () -> WallTime
    private let observe: @Sendable (Sample) -> Void
    private let logger: Logger
    private let latest = Mutex(Sample())

    /// - Parameters:
    ///   - beat: says that the owner of the store lives, and looks whether the store is still its own: if it is not, the
    ///     store refuses what comes next.
    ///   - observe: told of each look.
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

    package var sample: Sample { latest.withLock { $0 } }

    /// Looks once a second and forgets once a minute, until the task is cancelled.
    ///
    /// - Throws: what shows that the store cannot be used any more.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    self.heartbeat()
                    try await self.look()
                    try? await Task.sleep(for: Self.interval)
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    try await self.prune()
                    try? await Task.sleep(for: Self.pruneInterval)
                }
            }
            // Not `waitForAll`: the first failure must end the other, which never ends by itself.
            while try await group.next() != nil {}
        }
    }

    private func look() async throws {
        do {
            let sample = Sample(depth: try await queue.depth(), usage: store.usage(), at: wallClock())
            latest.withLock { $0 = sample }
            observe(sample)
        } catch {
            guard error.isPassing else { throw error }
            logger.warning("the queue does not say how much waits", metadata: ["error": "\(error)"])
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
                try? await Task.sleep(for: Self.prunePause)
            }
        } catch {
            guard error.isPassing else { throw error }
            logger.warning("old records could not be removed", metadata: ["error": "\(error)"])
        }
    }
}
