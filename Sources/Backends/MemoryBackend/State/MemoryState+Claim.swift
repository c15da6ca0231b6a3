import APNSWire
import PushModel
import PushStore

extension MemoryState {
    /// Claims due batches. The cost depends on the number of apps, of leases and of batches asked for, not on the backlog.
    mutating func claim(
        _ request: ClaimRequest, by owner: Int, bytesMax: Int, now: Moment
    ) -> [ClaimedBatch] {
        endExpiredLeases(at: now.monotonic)
        let quarantined = claimQuarantined(request, by: owner, now: now)
        // All quarantined batches together count as one.
        let batchesMax = min(request.batchesMax, 1000) - (quarantined.isEmpty ? 0 : 1)
        var claims: [ClaimedBatch] = []
        var bytes = 0
        var wanted = request.enough
        var pushesLeft = request.pushesMax - quarantined.reduce(0) { $0 + $1.pendingCount }
        lanes: for lane in Lane.allCases where claims.count < batchesMax {
            let apps = claimableApps(in: lane, request)
            var turns = turns[Int(lane.rawValue)]
            defer { self.turns[Int(lane.rawValue)] = turns }
            while claims.count < batchesMax, bytes < bytesMax, pushesLeft > 0 {
                let app = turns.next(among: apps) { app in
                    if let left = wanted[app], left <= 0 { return nil }
                    return firstDue(WaitingList(appLane: AppLane(app, lane: lane), standing: .ordinary), at: now.wall)
                        .flatMap { entries[$0]?.ledger.unsettled }
                }
                guard let app,
                    let id = firstDue(
                        WaitingList(appLane: AppLane(app, lane: lane), standing: .ordinary), at: now.wall
                    ), let entry = entries[id]
                else { continue lanes }
                // None overtakes it: it is claimed when there is capacity for all of its pushes.
                guard entry.ledger.unsettled <= pushesLeft,
                    let claim = claim(id, request, by: owner, now: now)
                else { break lanes }
                bytes += claim.batch.notifications.byteCount
                pushesLeft -= claim.pendingCount
                wanted[app]? -= claim.pendingCount
                claims.append(claim)
            }
        }
        return claims + quarantined
    }

    private mutating func claim(
        _ id: BatchID, _ request: ClaimRequest, by owner: Int, now: Moment
    ) -> ClaimedBatch? {
        change(id) { _, entry in
            entry.lease(to: owner, until: now.monotonic + request.lease)
            let isFresh = entry.ledger.lastUpdateAt == nil && (entry.batch?.lastDue ?? now.wall) <= now.wall
            let lookahead = entry.collapsible.isEmpty ? request.lookahead : .zero
            return entry.claimed(pending: isFresh ? nil : entry.ledger.pending(until: now.wall + lookahead))
        } ?? nil
    }

    /// Makes batches claimable whose holders kept them too long.
    private mutating func endExpiredLeases(at now: Duration) {
        for id in leased {
            guard case .leased(_, let deadline, _) = entries[id]?.phase, deadline <= now else { continue }
            change(id) { _, entry in entry.lapse(mayReturn: true) }
        }
    }

    func firstDue(_ list: WaitingList, at now: WallTime) -> BatchID? {
        waiting[list]?.first.flatMap { $0.at <= now ? $0.id : nil }
    }

    /// The apps of a lane that a claim may take from, ascending.
    func claimableApps(in lane: Lane, _ request: ClaimRequest) -> [AppEnvironment] {
        loads.keys.filter { appLane in
            appLane.lane == lane && !request.excludedApps.contains(appLane.appEnvironment)
                && !request.excludedLanes.contains(appLane) && paused[appLane.app] == nil
        }.map(\.appEnvironment).sorted()
    }

    // MARK: Leases

    /// - Returns: the leases that are lost.
    mutating func renew(_ leases: [Lease], by owner: Int, until deadline: Duration) -> [Lease] {
        leases.filter { lease in
            let isHeld = change(lease.batch) { _, entry in
                guard entry.isHeld(under: lease), entry.owner == owner else { return false }
                var hadUpdate = false
                if case .leased(_, _, let hasUpdate) = entry.phase { hadUpdate = hasUpdate }
                entry.isLapsed = false
                entry.phase = .leased(owner: owner, deadline: deadline, hasUpdate: hadUpdate)
                return true
            }
            return isHeld != true
        }
    }
}
