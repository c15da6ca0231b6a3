import APNSWire
package import PushModel
package import PushStore

extension DispatchBuffer {
    // MARK: Room

    /// - Returns: whether there is room and no batch waits in the store that must go first; the room is taken then.
    package mutating func reserve(pushes count: Int, for index: Int, lane: Lane) -> Bool {
        guard !isDraining, !apps[index].backlog.holdsAsUrgent(as: lane), capacity(of: index, for: lane) >= count else {
            return false
        }
        take(count, of: index, lane)
        return true
    }

    package mutating func cancelReservation(pushes count: Int, of index: Int, lane: Lane) {
        give(back: count, of: index, lane)
    }

    /// How many more pushes of `lane` the app may have in memory.
    private func capacity(of index: Int, for lane: Lane) -> Int {
        min(
            limits.totalShares.capacity(for: lane, beside: pushes, in: limits.pushesMax),
            limits.capacityShares.capacity(for: lane, beside: apps[index].pushes, in: capacityPerApp(asking: index))
        )
    }

    /// What one app may take now. One share is always left for an app that has nothing yet.
    private func capacityPerApp(asking index: Int) -> Int {
        let sharing = activeApps + (apps[index].pushes.total == 0 ? 1 : 0)
        let share = min(limits.pushesPerAppMax, limits.pushesMax / (sharing + 1))
        return max(share, min(limits.pushesPerAppMin, limits.pushesPerAppMax))
    }

    private mutating func take(_ count: Int, of index: Int, _ lane: Lane) {
        if apps[index].pushes.total == 0 { activeApps += 1 }
        pushes[lane] += count
        apps[index].pushes[lane] += count
    }

    mutating func give(back count: Int, of index: Int, _ lane: Lane) {
        guard count > 0 else { return }
        pushes[lane] -= count
        apps[index].pushes[lane] -= count
        if apps[index].pushes.total == 0 { activeApps -= 1 }
    }

    // MARK: Claiming

    /// How much may be claimed now; nil when there is no room or we are stopping. One claim is made at a time.
    ///
    /// - Parameter isBarred: apps that are not to be claimed from, by index.
    package mutating func claimPlan(isBarred: (Int) -> Bool = { _ in false }) -> ClaimPlan? {
        var batches = min((limits.pushesMax - pushes.total) / NotificationBatch.countMax, 16)
        guard !isDraining, batches > 0 else { return nil }
        var plan = ClaimPlan(
            batchesMax: 0, excludedApps: [], excludedLanes: [], quarantinedMax: quarantined.isEmpty ? quarantinedMax : 0
        )
        for index in apps.indices {
            apps[index].backlogSincePlan = []
            let lanes = isBarred(index) ? [] : Lane.allCases.filter { capacity(of: index, for: $0) >= Self.countMax }
            if lanes.isEmpty {
                plan.excludedApps.insert(apps[index].id)
                continue
            }
            for lane in Lane.allCases {
                if lanes.contains(lane) {
                    // All of what is claimed may be of this place.
                    batches = min(batches, capacity(of: index, for: lane) / Self.countMax)
                } else {
                    plan.excludedLanes.insert(AppLane(app: apps[index].id, lane: lane))
                }
            }
        }
        plan.batchesMax = batches
        return plan
    }

    private static let countMax = NotificationBatch.countMax

    /// The answer to a claim made by `plan`.
    ///
    /// - Returns: whether more may wait, so that it is worth asking again at once.
    package mutating func claimed(_ batches: [ClaimedBatch], plan: ClaimPlan, leaseUntil: Duration, draw: Double)
        -> Bool
    {
        for batch in batches {
            take(batch.pendingCount, of: index(of: batch.batch.app), batch.batch.lane)
            add(batch, leaseUntil: leaseUntil, draw: draw)
        }
        guard batches.count < plan.batchesMax else { return true }
        for index in apps.indices {
            var backlog = apps[index].backlogSincePlan
            if plan.excludedApps.contains(apps[index].id) {
                backlog = .all
            } else if !plan.excludedLanes.isEmpty {
                for lane in Lane.allCases
                where plan.excludedLanes.contains(AppLane(app: apps[index].id, lane: lane)) {
                    backlog.insert(LaneSet(lane))
                }
            }
            apps[index].backlog = backlog
        }
        return false
    }

    package mutating func notifyBacklog(of index: Int, lane: Lane) {
        apps[index].backlog.insert(LaneSet(lane))
        apps[index].backlogSincePlan.insert(LaneSet(lane))
    }

    /// Anything may wait in the store for this app.
    package mutating func backlogUnknown(of index: Int) {
        apps[index].backlog = .all
        apps[index].backlogSincePlan = .all
    }

    package func hasBacklog(_ index: Int) -> Bool { !apps[index].backlog.isEmpty }

    /// A batch that came by the hot hand-off; its room was reserved.
    package mutating func handedOver(_ batch: ClaimedBatch, leaseUntil: Duration, draw: Double) {
        add(batch, leaseUntil: leaseUntil, draw: draw)
    }

    private mutating func add(_ batch: ClaimedBatch, leaseUntil: Duration, draw: Double) {
        let ticket = nextTicket
        nextTicket += 1
        let index = index(of: batch.batch.app)
        works[ticket] = Work(
            ticket: ticket, claimed: batch, unanswered: batch.pendingCount, leaseUntil: leaseUntil, draw: draw,
            appIndex: index
        )
        tickets[batch.lease] = ticket
        if batch.isQuarantined { quarantined(batch.lease) }
        apps[index].waiting[Int(batch.batch.lane.rawValue)].append(ticket)
        apps[index].waitingPushes += batch.pendingCount
    }
}
