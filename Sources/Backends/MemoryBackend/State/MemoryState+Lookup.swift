import PushModel
import PushStore

extension BatchEntry {
    func update(of index: Int) -> Update? { updates.isEmpty ? nil : updates[index] }
}

extension MemoryState {
    /// - Returns: parallel to `ids`.
    func find(_ ids: [PushID], at now: WallTime) -> [PushStatus?] {
        ids.map { id in
            guard let entry = entries[id.batch], id.index < entry.ledger.count else { return nil }
            return status(of: id, entry, at: now)
        }
    }

    func status(of id: PushID, _ entry: BatchEntry, at now: WallTime) -> PushStatus {
        var status = PushStatus(
            id: id, app: entry.appLane.app, environment: entry.appLane.appEnvironment.environment,
            lane: entry.appLane.lane, state: entry.isLeased ? .sending : .queued, acceptedAt: entry.acceptedAt,
            updatedAt: entry.acceptedAt
        )
        switch entry.update(of: id.index) {
        case .outcome(let outcome, let at):
            status.state = .settled(outcome.verdict)
            status.code = outcome.code
            status.status = outcome.status
            status.reason = outcome.reason
            status.attempts = outcome.attempts
            status.updatedAt = at
            status.uniqueID = outcome.uniqueID
            if outcome.tokenDeadAt != 0 { status.tokenDeadAt = WallTime(milliseconds: outcome.tokenDeadAt) }
        case .retry(let retry, let at):
            let isSending = entry.isLeased && retry.due <= now
            status.state = isSending ? .sending : .retrying
            status.code = retry.code
            status.status = retry.status
            status.reason = retry.reason
            status.attempts = retry.attempts
            status.updatedAt = at
            status.nextAttemptAt = isSending ? nil : retry.due
        case .replay(let at):
            status.updatedAt = at
        case nil:
            if let due = entry.batch?.dueTimes[id.index], due > now {
                status.state = .scheduled
                status.nextAttemptAt = due
            }
        }
        return status
    }

    func depth(at now: WallTime) -> QueueDepth {
        var depth = QueueDepth()
        for (appLane, load) in loads {
            depth.add(batches: load.batches, pushes: load.pushes, of: appLane)
            guard paused[appLane.app] == nil,
                let due = waiting[WaitingList(appLane: appLane, standing: .ordinary)]?.first?.at, due <= now
            else { continue }
            depth.oldestDue[appLane.app] = min(depth.oldestDue[appLane.app] ?? due, due)
        }
        return depth
    }
}
