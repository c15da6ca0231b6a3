import APNSWire
import PushModel
import PushStore

/// The app, environment, device, topic, push type and collapse ID of a push. Of two pushes with the same target the newer replaces the
/// older.
struct CollapseTarget: Sendable, Hashable {
    var app: AppEnvironment
    var token: ArraySlice<UInt8>
    var topic: String
    var pushType: PushType
    var collapseID: String
}

struct CollapsiblePush: Sendable {
    var index: UInt16
    var target: CollapseTarget

    /// The pushes of a batch that have a collapse ID, ascending.
    static func all(of batch: Batch) -> [CollapsiblePush] {
        let pushes = batch.notifications
        guard pushes.headers.contains(where: { $0.collapseID != nil }) else { return [] }
        return pushes.entries.indices.compactMap { index in
            let headers = pushes.headers[Int(pushes.entries[index].headersIndex)]
            guard let collapseID = headers.collapseID else { return nil }
            let target = CollapseTarget(
                app: batch.appEnvironment, token: pushes.token(at: index), topic: headers.topic,
                pushType: headers.pushType,
                collapseID: collapseID
            )
            return CollapsiblePush(index: UInt16(index), target: target)
        }
    }
}

/// A push that waits, or waited before it was claimed.
struct CollapseRow: Sendable {
    var key: Int
    var id: BatchID
    var index: UInt16
}

/// A push supersedes older ones to the same target that wait and are not due before it. One that is due earlier is sent
/// at its own time. A claimed push may be on its way and is left alone; when it returns to wait, it is superseded by newer
/// pushes that arrived in the meantime, unless those are due later.
extension MemoryState {
    mutating func supersedeOlder(than newer: BatchEntry, dueTimes: PushColumn<WallTime>, now: WallTime) {
        // By batch and push: when the earliest newer push is due.
        var older: [BatchID: [UInt16: WallTime]] = [:]
        for push in newer.collapsible {
            let newerDue = dueTimes[Int(push.index)] ?? now
            for row in collapses[push.target] ?? [] where row.key < newer.key {
                let earlier = older[row.id]?[row.index] ?? newerDue
                older[row.id, default: [:]][row.index] = min(earlier, newerDue)
            }
        }
        for (id, indexes) in older {
            change(id) { state, entry in
                guard entry.isWaiting else { return }
                let late = Set(indexes.filter { $1 <= max(entry.ledger.due(of: Int($0)), now) }.keys)
                guard !late.isEmpty else { return }
                state.supersede(late, of: &entry, now: now)
                entry.wait()
            }
        }
    }

    /// Enters the pushes of a batch that waits from now on. Of those to the same target the last counts.
    mutating func enterCollapses(of entry: inout BatchEntry, now: WallTime) {
        var targets: Set<CollapseTarget> = []
        var superseded: Set<UInt16> = []
        for push in entry.collapsible.reversed() where !entry.ledger.isSettled(Int(push.index)) {
            let due = max(entry.ledger.due(of: Int(push.index)), now)
            if !targets.insert(push.target).inserted || hasNewer(push.target, than: entry.key, dueUntil: due) {
                superseded.insert(push.index)
            } else if collapses[push.target]?.contains(where: { $0.id == entry.id }) != true {
                collapses[push.target, default: []].append(CollapseRow(key: entry.key, id: entry.id, index: push.index))
            }
        }
        supersede(superseded, of: &entry, now: now)
        entry.wait()
    }

    /// A push that was cancelled or superseded supersedes no other.
    mutating func leaveCollapses(_ index: UInt16, of entry: BatchEntry) {
        guard let push = entry.collapsible.first(where: { $0.index == index }) else { return }
        removeRow(of: entry.id, push)
    }

    mutating func leaveCollapses(of entry: inout BatchEntry) {
        for push in entry.collapsible { removeRow(of: entry.id, push) }
        entry.collapsible = []
    }

    private mutating func removeRow(of id: BatchID, _ push: CollapsiblePush) {
        collapses[push.target]?.removeAll { $0.id == id && $0.index == push.index }
        if collapses[push.target]?.isEmpty == true { collapses[push.target] = nil }
    }

    /// Whether a newer push to the target was sent, or is due by `due`, or was handed out before that.
    private func hasNewer(_ target: CollapseTarget, than key: Int, dueUntil due: WallTime) -> Bool {
        (collapses[target] ?? []).contains { row in
            guard row.key > key, let entry = entries[row.id] else { return false }
            let index = Int(row.index)
            return entry.ledger.isSettled(index) || entry.ledger.due(of: index) <= due
        }
    }

    private mutating func supersede(_ indexes: Set<UInt16>, of entry: inout BatchEntry, now: WallTime) {
        guard !indexes.isEmpty else { return }
        let outcomes = indexes.sorted().map { index in
            Outcome(
                index: index, verdict: .suppressed, code: .superseded, attempts: entry.ledger.attempts(of: Int(index))
            )
        }
        var update = BatchUpdate(at: now, outcomes: outcomes)
        record(&update, of: &entry)
    }
}
