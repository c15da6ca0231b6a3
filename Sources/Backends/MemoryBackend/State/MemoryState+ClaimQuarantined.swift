import PushModel
import PushStore

extension MemoryState {
    /// Batches of one group, so that one operation holds the lock for a moment only.
    private static let groupBatchesMax = 256

    /// Claims pushes of quarantined batches of one app; the apps take turns.
    ///
    /// A batch whose holder died over such a group as well is isolated: its pushes are claimed one at a time. A push
    /// that kills its holder then is poison and is given up here, and the other pushes continue. A batch stays in
    /// quarantine until it has ended, so a second poisonous push in it harms no other batch either.
    mutating func claimQuarantined(_ request: ClaimRequest, by owner: Int, now: Moment) -> [ClaimedBatch] {
        guard request.quarantinedMax > 0, waiting.keys.contains(where: { $0.standing != .ordinary }) else { return [] }
        let claimable = Lane.allCases.map { lane in
            (lane: lane, apps: Set(claimableApps(in: lane, request)).subtracting(request.excludedQuarantined))
        }
        // Not lane by lane: urgent batches of one app must not be claimed before all of another.
        let apps = claimable.reduce(into: Set<AppEnvironment>()) { $0.formUnion($1.apps) }.sorted()
        let next = lastQuarantinedApp.flatMap { last in apps.firstIndex { $0 > last } } ?? 0
        for app in apps[next...] + apps[..<next] {
            for (lane, apps) in claimable where apps.contains(app) {
                let claims = claimQuarantined(AppLane(app, lane: lane), request, by: owner, now: now)
                guard !claims.isEmpty else { continue }
                lastQuarantinedApp = app
                return claims
            }
        }
        return []
    }

    private mutating func claimQuarantined(
        _ appLane: AppLane, _ request: ClaimRequest, by owner: Int, now: Moment
    ) -> [ClaimedBatch] {
        // First those that were in no group when its holder died: most of them are harmless and leave fast.
        for standing in [BatchEntry.Standing.quarantined, .isolated] {
            let list = WaitingList(appLane: appLane, standing: standing)
            let isAlone = standing == .isolated || request.quarantinedMax == 1
            var pushesLeft = isAlone ? 1 : request.quarantinedMax
            var claims: [ClaimedBatch] = []
            while pushesLeft > 0, claims.count < Self.groupBatchesMax, let id = firstDue(list, at: now.wall) {
                let claim = change(id) { state, entry in
                    state.claimQuarantined(
                        &entry, pushesMax: pushesLeft, isAlone: isAlone, until: now.monotonic + request.lease,
                        by: owner, now: now.wall
                    )
                }
                guard let claim = claim ?? nil else { continue }
                claims.append(claim)
                pushesLeft -= claim.pendingCount
            }
            if !claims.isEmpty { return claims }
        }
        return []
    }

    /// - Returns: nil when none of its pushes is due; the batch then waits, or has ended.
    private mutating func claimQuarantined(
        _ entry: inout BatchEntry, pushesMax: Int, isAlone: Bool, until deadline: Duration, by owner: Int, now: WallTime
    ) -> ClaimedBatch? {
        if let tried = entry.isolated, tried.crashes >= PoisonLimits.isolatedRedeliveriesMax {
            giveUp(tried.index, of: &entry, at: now)
            entry.isolated = nil
        }
        let due = entry.ledger.pending(until: now)
        guard !due.isEmpty else {
            entry.wait()
            return nil
        }
        var pending = Array(due.prefix(pushesMax))
        if isAlone {
            let push = due.first { Int($0.index) == entry.isolated?.index } ?? due[0]
            if Int(push.index) != entry.isolated?.index { entry.isolated = (Int(push.index), 0) }
            pending = [push]
        } else {
            // If the holder dies, any push of the group may be the cause.
            entry.isolated = nil
        }
        entry.lease(to: owner, until: deadline)
        return entry.claimed(pending: pending, isQuarantined: true)
    }

    private mutating func giveUp(_ index: Int, of entry: inout BatchEntry, at now: WallTime) {
        let poison = Outcome(
            index: UInt16(index), verdict: .givenUp, code: .poison, attempts: entry.ledger.attempts(of: index)
        )
        var update = BatchUpdate(at: now, outcomes: [poison])
        record(&update, of: &entry)
    }
}
