package import PushModel
package import PushStore

extension DispatchBuffer {
    /// All counts are pushes.
    package struct Limits: Sendable, Equatable {
        /// In memory, all apps together.
        package var pushesMax = 40_000
        /// In memory, one app.
        package var pushesPerAppMax = 20_000
        /// The smallest share of one app, independent of the number of apps that have work.
        package var pushesPerAppMin = 2_000
        /// In flight, one app.
        package var windowPerApp = 4_000
        /// In flight, one app, at-most-once pushes: the most that one crash can lose.
        package var windowAtMostOnce = 500
        /// The same while no recent answer shows that APNs responds.
        package var windowAtMostOnceUnproven = 10
        /// How the lanes of an app share its capacity.
        package var capacityShares = LaneShares(bulk: 0.6, normal: 0.85)
        /// How the lanes of an app share its window.
        package var windowShares = LaneShares(bulk: 0.75, normal: 0.9)
        /// How the lanes of all apps share `pushesMax`.
        package var totalShares = LaneShares(bulk: 0.85, normal: 0.95)

        package init() {}
    }

    /// A claimed batch in memory.
    package struct Work: Sendable {
        /// Identifies the batch in this process.
        package let ticket: UInt64
        package internal(set) var claimed: ClaimedBatch
        /// Pushes that are neither answered nor settled; the batch leaves memory when none is left.
        package internal(set) var unanswered: Int
        package internal(set) var isSent = false
        /// End of the lease, monotonic time.
        package internal(set) var leaseUntil: Duration
        /// 0..<1. Shared by all retries of the batch, so that they become due together.
        package let jitter: Double
        package let appIndex: Int

        package var app: AppID { claimed.batch.app }
        package var lane: Lane { claimed.batch.lane }
        /// Whether its pushes are never sent twice: those that APNs did not answer are dropped.
        package var isAtMostOnce: Bool { claimed.batch.ambiguity == .drop }

        /// The pushes to send, with their earlier attempts.
        package var pending: [PendingPush] {
            claimed.pending
                ?? (0..<UInt16(claimed.batch.count)).map {
                    PendingPush(index: $0, attempts: 0, due: claimed.batch.due(of: $0))
                }
        }
    }

    /// What to claim from the store.
    package struct ClaimPlan: Equatable, Sendable {
        package var batchesMax: Int
        package var excludedApps: Set<AppEnvironment>
        package var excludedLanes: Set<AppLane>
        /// The trial size: pushes of quarantined batches that may be claimed. Zero while a trial is in memory.
        package var quarantinedMax: Int
        /// Apps whose quarantined batches are not tried now.
        package var excludedQuarantined: Set<AppEnvironment> = []
    }
}
