import APNSWire
package import PushModel
package import PushStore

extension DispatchBuffer {
    // MARK: Capacity

    /// Reserves capacity for a direct hand-off.
    ///
    /// - Returns: false if there is none, or if older batches of the lane or a more urgent one may wait in the store.
    package mutating func reserve(pushes count: Int, for index: Int, lane: Lane) -> Bool {
        guard !isDraining, !apps[index].backlog.containsAny(atLeastAsUrgentAs: lane),
            capacity(of: index, for: lane) >= count
        else {
            return false
        }
        acquireCapacity(count, of: index, lane)
        return true
    }

    package mutating func cancelReservation(pushes count: Int, of index: Int, lane: Lane) {
        releaseCapacity(count, of: index, lane)
    }

    /// The number of pushes of `lane` that the app may add.
    private func capacity(of index: Int, for lane: Lane) -> Int {
        min(
            limits.totalShares.capacity(for: lane, used: pushes, limit: limits.pushesMax),
            limits.capacityShares.capacity(for: lane, used: apps[index].pushes, limit: capacityPerApp(asking: index))
        )
    }

    /// The app's share of the capacity. One share always stays free for an app without pushes in memory.
    private func capacityPerApp(asking index: Int) -> Int {
        let sharing = activeApps + (apps[index].pushes.total == 0 ? 1 : 0)
        let share = min(limits.pushesPerAppMax, limits.pushesMax / (sharing + 1))
        return max(share, min(limits.pushesPerAppMin, limits.pushesPerAppMax))
    }

    private mutating func acquireCapacity(_ count: Int, of index: Int, _ lane: Lane) {
        if apps[index].pushes.total == 0 { activeApps += 1 }
        pushes[lane] += count
        apps[index].pushes[lane] += count
    }

    mutating func releaseCapacity(_ count: Int, of index: Int, _ lane: Lane) {
        guard count > 0 else { return }
        pushes[lane] -= count
        apps[index].pushes[lane] -= count
        if apps[index].pushes.total == 0 { activeApps -= 1 }
    }

    // MARK: Claiming

    /// The next claim; nil when there is no capacity or after `drain`. The result of a claim is reported to `claimed`
    /// before the next plan is made.
    ///
    /// - Parameter isExcluded: whether the app with this index is not claimed from.
    package mutating func claimPlan(isExcluded: (Int) -> Bool = { _ in false }) -> ClaimPlan? {
        var batches = min((limits.pushesMax - pushes.total) / NotificationBatch.countMax, 16)
        guard !isDraining, batches > 0 else { return nil }
        var plan = ClaimPlan(
            batchesMax: 0, excludedApps: [], excludedLanes: [], quarantinedMax: quarantined.isEmpty ? trialSize : 0
        )
        for index in apps.indices {
            apps[index].backlogSincePlan = []
            let lanes = isExcluded(index) ? [] : Lane.allCases.filter { capacity(of: index, for: $0) >= Self.countMax }
            if lanes.isEmpty {
                plan.excludedApps.insert(AppEnvironment(apps[index].id))
                continue
            }
            for lane in Lane.allCases {
                if lanes.contains(lane) {
                    // All claimed batches may be of this app and lane.
                    batches = min(batches, capacity(of: index, for: lane) / Self.countMax)
                } else {
                    plan.excludedLanes.insert(AppLane(AppEnvironment(apps[index].id), lane: lane))
                }
            }
        }
        plan.batchesMax = batches
        return plan
    }

    private static let countMax = NotificationBatch.countMax

    /// The store has returned the result of a claim.
    ///
    /// - Returns: whether the store may have more.
    package mutating func claimed(_ batches: [ClaimedBatch], plan: ClaimPlan, leaseUntil: Duration, jitter: Double)
        -> Bool
    {
        for batch in batches {
            acquireCapacity(batch.pendingCount, of: index(of: batch.batch.app), batch.batch.lane)
            add(batch, leaseUntil: leaseUntil, jitter: jitter)
        }
        guard batches.count < plan.batchesMax else { return true }
        for index in apps.indices {
            var backlog = apps[index].backlogSincePlan
            if plan.excludedApps.contains(AppEnvironment(apps[index].id)) {
                backlog = .all
            } else if !plan.excludedLanes.isEmpty {
                for lane in Lane.allCases
                where plan.excludedLanes.contains(AppLane(AppEnvironment(apps[index].id), lane: lane)) {
                    backlog.insert(LaneSet(lane))
                }
            }
            apps[index].backlog = backlog
        }
        return false
    }

    /// A batch was written to the store without a hand-off.
    package mutating func notifyBacklog(of index: Int, lane: Lane) {
        apps[index].backlog.insert(LaneSet(lane))
        apps[index].backlogSincePlan.insert(LaneSet(lane))
    }

    /// Assumes that batches of every lane of the app wait in the store, until a claim shows otherwise.
    package mutating func assumeBacklog(of index: Int) {
        apps[index].backlog = .all
        apps[index].backlogSincePlan = .all
    }

    package func hasBacklog(_ index: Int) -> Bool { !apps[index].backlog.isEmpty }

    /// A batch arrived by the direct hand-off; its capacity is reserved.
    package mutating func handoffDelivered(_ batch: ClaimedBatch, leaseUntil: Duration, jitter: Double) {
        add(batch, leaseUntil: leaseUntil, jitter: jitter)
    }

    private mutating func add(_ batch: ClaimedBatch, leaseUntil: Duration, jitter: Double) {
        let ticket = nextTicket
        nextTicket += 1
        let index = index(of: batch.batch.app)
        works[ticket] = Work(
            ticket: ticket, claimed: batch, unanswered: batch.pendingCount, leaseUntil: leaseUntil, jitter: jitter,
            appIndex: index
        )
        tickets[batch.lease] = ticket
        if batch.isQuarantined { quarantine(batch.lease) }
        apps[index].waiting[Int(batch.batch.lane.rawValue)].append(ticket)
        apps[index].waitingPushes += batch.pendingCount
    }
}
