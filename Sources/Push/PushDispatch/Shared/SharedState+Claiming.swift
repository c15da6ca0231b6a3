import APNSWire
import PushModel
import PushStore

extension SharedState {
    // MARK: Plans

    /// Bounds the time and the memory of one claim.
    private static let claimedPushesMax = 16_000
    private static let claimedBatchesMax = 1_000

    /// The next claim; nil when there is no capacity or after a drain. The cost depends on the number of apps only.
    mutating func claimPlan(now: Duration) -> ClaimPlan? {
        let countMax = NotificationBatch.countMax
        let capacity = min(limits.pushesMax - pushes.total, Self.claimedPushesMax)
        guard !isDraining, capacity >= countMax else { return nil }
        plans += 1
        var plan = ClaimPlan(
            number: plans, batchesMax: Self.claimedBatchesMax, pushesMax: capacity, excludedApps: [],
            excludedLanes: [], quarantinedMax: quarantine.trialMax,
            excludedQuarantined: quarantine.deferredApps(now: now)
        )
        for number in apps.indices {
            let app = apps[number].app
            let capacities = Lane.allCases.map { self.capacity(of: number, for: $0) }
            let demand = apps[number].demand.pushesMax
            guard demand > 0, capacities.contains(where: { $0 >= countMax }) else {
                plan.excludedApps.insert(app)
                continue
            }
            plan.pushesMax = min(plan.pushesMax, demand)
            for (lane, capacity) in zip(Lane.allCases, capacities) {
                if capacity >= countMax {
                    // All claimed batches may be of this app and lane.
                    plan.pushesMax = min(plan.pushesMax, capacity)
                } else {
                    plan.excludedLanes.insert(AppLane(app, lane: lane))
                }
            }
        }
        return plan
    }

    /// The store has returned the result of a claim.
    ///
    /// - Parameter numbers: the apps of `batches`.
    /// - Returns: whether the store may have more.
    mutating func claimed(_ batches: [ClaimedBatch], of numbers: [Int], plan: ClaimPlan) -> Bool {
        for (batch, number) in zip(batches, numbers) {
            acquireCapacity(batch.pendingCount, of: number, batch.batch.lane)
            added(batch, of: number)
        }
        // Perhaps the next batch of the store did not fit: the store counts unsettled pushes, due or not.
        let left = plan.pushesMax - batches.reduce(0) { $0 + $1.batch.count }
        guard batches.count < plan.batchesMax, left >= NotificationBatch.countMax else { return !isDraining }
        completePlan = plan.number
        // The claim shows nothing about what it excluded.
        for app in plan.excludedApps { if let number = self.numbers[app] { assumeBacklog(of: number) } }
        for excluded in plan.excludedLanes {
            if let number = self.numbers[excluded.appEnvironment] { noteBacklog(of: number, excluded.lane) }
        }
        return false
    }

    // MARK: Backlog

    /// Batches of the lane were written to the store without a hand-off, or may wait there.
    mutating func noteBacklog(of number: Int, _ lane: Lane) {
        // The claim in progress may not return them.
        apps[number].backlogUntil[Int(lane.rawValue)] = plans + 1
    }

    /// Assumes that batches of every lane of the app wait in the store, until a claim shows otherwise.
    mutating func assumeBacklog(of number: Int) {
        for lane in Lane.allCases { noteBacklog(of: number, lane) }
    }

    func hasBacklog(_ number: Int, _ lane: Lane) -> Bool {
        apps[number].backlogUntil[Int(lane.rawValue)] > completePlan
    }
}
