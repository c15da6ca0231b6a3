package import PushModel
package import PushStore

extension DispatchBuffer {
    package struct Limits: Sendable, Equatable {
        /// Pushes in memory, all apps together.
        package var pushesMax = 40_000
        /// Pushes in memory of one app.
        package var pushesPerAppMax = 20_000
        /// What each app may have in memory however many have work.
        package var pushesPerAppMin = 2_000
        /// Pushes of one app handed to its APNs client and not yet answered.
        package var windowPerApp = 4_000
        /// Of these, pushes that are dropped when unanswered: so many at most a crash can take, if APNs is well.
        package var windowOnce = 500
        /// The same while nothing shows that APNs is well.
        package var windowOnceUnproven = 10
        /// How an app's room is shared by its lanes.
        package var capacityShares = LaneShares(bulk: 0.6, normal: 0.85)
        /// The same for its window.
        package var windowShares = LaneShares(bulk: 0.75, normal: 0.9)
        /// The same for the room of all apps.
        package var totalShares = LaneShares(bulk: 0.85, normal: 0.95)

        package init() {}
    }

    /// A batch that this instance works on.
    package struct Work: Sendable {
        package let ticket: UInt64
        package internal(set) var claimed: ClaimedBatch
        /// Pushes not yet answered; the batch is done with when none is left.
        package internal(set) var unanswered: Int
        package internal(set) var isSent = false
        /// The lease holds until then, by the monotonic clock.
        package internal(set) var leaseUntil: Duration
        /// Shared by all retries of the batch, so that they stay together.
        package let draw: Double
        /// Where the app is kept.
        package let appIndex: Int

        package var app: AppID { claimed.batch.app }
        package var lane: Lane { claimed.batch.lane }
        /// Whether its pushes are dropped when unanswered.
        package var isOnce: Bool { claimed.batch.ambiguity == .drop }

        /// Its pushes that are still to be sent, with what is known of them.
        package var pending: [PendingPush] {
            claimed.pending
                ?? (0..<UInt16(claimed.batch.count)).map {
                    PendingPush(index: $0, attempts: 0, due: claimed.batch.acceptedAt)
                }
        }
    }

    package struct ClaimPlan: Equatable, Sendable {
        package var batchesMax: Int
        package var excludedApps: Set<AppID>
        package var excludedLanes: Set<AppLane>
        /// Pushes of suspected batches that may be claimed; none while any is in memory.
        package var quarantinedMax: Int
        /// Apps whose suspects are not tried now.
        package var excludedQuarantined: Set<AppID> = []
    }
}
