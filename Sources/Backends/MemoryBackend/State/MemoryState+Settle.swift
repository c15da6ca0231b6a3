import PushModel
import PushStore

extension MemoryState {
    /// - Returns: the leases whose settlements were refused.
    mutating func settle(_ settlements: [Settlement]) -> [Lease] {
        settlements.compactMap { settlement in
            let isRecorded = change(settlement.lease.batch) { state, entry in
                if entry.epoch == settlement.lease.epoch, let number = settlement.number,
                    number <= entry.settlementNumber
                {
                    // Its response was lost.
                    return true
                }
                guard entry.isHeld(under: settlement.lease) else { return false }
                state.settle(settlement, of: &entry)
                if let number = settlement.number { entry.settlementNumber = number }
                return true
            }
            return isRecorded == true ? nil : settlement.lease
        }
    }

    private mutating func settle(_ settlement: Settlement, of entry: inout BatchEntry) {
        var update = settlement.update
        record(&update, of: &entry)
        guard !entry.isEnded else { return }
        switch (settlement.release, entry.phase) {
        case (.keep, .leased(let owner, let deadline, _)):
            // Among quarantined pushes an update about some does not excuse a death over the others.
            guard !update.isEmpty, entry.standing == .ordinary else { return }
            entry.phase = .leased(owner: owner, deadline: deadline, hasUpdate: true)
        case (.keep, _):
            entry.wait()
        case (.release, _), (.postpone, _):
            entry.isLapsed = false
            entry.wait()
            enterCollapses(of: &entry, now: settlement.at)
            if case .postpone(let until) = settlement.release { entry.wait(notBefore: until) }
        }
    }

    /// Records the new part of `update` and drops the rest. Ends the batch when its last push is settled.
    ///
    /// The caller then moves a batch that waits to its new due time.
    mutating func record(_ update: inout BatchUpdate, of entry: inout BatchEntry) {
        entry.ledger.record(&update)
        guard !update.isEmpty else { return }
        entry.note(update)
        count(update.outcomes, of: entry.appLane.app)
        for outcome in update.outcomes where outcome.verdict == .givenUp { keep(outcome, of: &entry, at: update.at) }
        for outcome in update.outcomes where outcome.verdict == .cancelled || outcome.verdict == .suppressed {
            leaveCollapses(outcome.index, of: entry)
        }
        guard entry.ledger.isFinished else { return }
        entry.phase = .ended(at: update.at)
        entry.isLapsed = false
        leaveCollapses(of: &entry)
        // The payloads are needed for dead letters only.
        if entry.letters == 0 { entry.batch = nil }
    }
}
