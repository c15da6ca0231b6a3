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
        // All claimed batches may be of one lane.
        let capacity = Lane.allCases.map { limits.totalShares.capacity(for: $0, used: pushes, limit: limits.pushesMax) }
            .filter { $0 >= countMax }.reduce(Self.claimedPushesMax, min)
        guard !isDraining, limits.pushesMax - pushes.total >= countMax else { return nil }
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
            let open = zip(Lane.allCases, capacities).filter { demand[$0] > 0 && $1 >= countMax }
            guard let first = open.first else {
                plan.excludedApps.insert(app)
                continue
            }
            // The more urgent the lane, the more pushes the app takes.
            var enough = demand[first.0]
            for (lane, capacity) in zip(Lane.allCases, capacities) {
                if demand[lane] > 0, capacity >= countMax {
                    // All batches of the app may be of this lane, and the last one must fit, too.
                    enough = min(enough, capacity - countMax + 1)
                } else {
                    plan.excludedLanes.insert(AppLane(app, lane: lane))
                }
            }
            if enough < plan.pushesMax { plan.enough[app] = enough }
        }
        return plan
    }

    /// The store has returned the result of a claim.
    ///
    /// - Parameter numbers: the apps of `batches`.
    /// - Returns: whether the store may have more.
    mutating func claimed(_ batches: [ClaimedBatch], of numbers: [Int], plan: ClaimPlan) -> Bool {
        var wanted = plan.enough
        for (batch, number) in zip(batches, numbers) {
            acquireCapacity(batch.pendingCount, of: number, batch.batch.lane)
            added(batch, of: number)
            if !wanted.isEmpty { wanted[apps[number].app]? -= batch.pendingCount }
        }
        // Perhaps the next batch of the store did not fit: the store counts unsettled pushes, due or not.
        let left = plan.pushesMax - batches.reduce(0) { $0 + $1.batch.count }
        guard batches.count < plan.batchesMax, left >= NotificationBatch.countMax else { return !isDraining }
        completePlan = plan.number
        if plan.quarantinedMax > 0, !batches.contains(where: \.isQuarantined) { quarantine.mayHaveMore = false }
        // The claim shows nothing about what it excluded, or what is left of an app of which it returned enough.
        for app in plan.excludedApps.union(wanted.lazy.filter { $0.value <= 0 }.map(\.key)) {
            if let number = self.numbers[app] { assumeBacklog(of: number) }
        }
        for excluded in plan.excludedLanes {
            if let number = self.numbers[excluded.appEnvironment] { noteBacklog(of: number, excluded.lane) }
        }
        return false
    }

    /// Whether the store may have batches that a claim would return now: of a lane of which an app takes more, or
    /// quarantined ones, of which the end of a trial permits the next.
    var mayClaim: Bool {
        quarantine.mayHaveMore && quarantine.leases.isEmpty
            || apps.indices.contains { number in
                Lane.allCases.contains { apps[number].demand.pushesMax[$0] > 0 && hasBacklog(number, $0) }
            }
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
