import APNSWire
import Crypto
import Foundation
import GRDB
import PushModel
import PushStore

/// Pushes of one app, in one environment, to one device with the same topic, push type and collapse id have the same key: a newer one replaces
/// older ones that wait. A silent push never replaces a visible one.
struct CollapseKey: Sendable, Equatable {
    /// 128 bits of the SHA-256 of app, environment, device token, topic, push type and collapse id: stable across restarts, and long
    /// enough to exclude collisions, including deliberate ones.
    let high: Int64
    let low: Int64
    let push: UInt16

    /// The keys of the pushes that have a collapse id, by ascending index. Checks only the headers of batches without
    /// one.
    static func keys(of batch: Batch) -> [CollapseKey] {
        let pushes = batch.notifications
        guard pushes.headers.contains(where: { $0.collapseID != nil }) else { return [] }
        let (app, environment) = (Array(batch.app.name.utf8), Array(batch.environment.label.utf8))
        var keys: [CollapseKey] = []
        for (index, entry) in pushes.entries.enumerated() {
            let headers = pushes.headers[Int(entry.headersIndex)]
            guard let collapseID = headers.collapseID else { continue }
            let token = pushes.token(at: index)
            var hash = SHA256()
            let type = Array(headers.pushType.description.utf8)
            let parts = [app, environment, Array(token), Array(headers.topic.utf8), type]
            // The lengths distinguish "ab" + "c" from "a" + "bc".
            for part in parts {
                hash.update(data: withUnsafeBytes(of: UInt32(part.count).bigEndian) { Array($0) })
                hash.update(data: part)
            }
            hash.update(data: Array(collapseID.utf8))
            keys.append(CollapseKey(hash.finalize(), push: UInt16(index)))
        }
        return keys
    }

    private init(_ digest: SHA256.Digest, push: UInt16) {
        (high, low) = digest.withUnsafeBytes { bytes in
            (
                Int64(bigEndian: bytes.loadUnaligned(as: Int64.self)),
                Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: Int64.self))
            )
        }
        self.push = push
    }

    init(high: Int64, low: Int64, push: UInt16) {
        (self.high, self.low, self.push) = (high, low, push)
    }

    /// The key without the push.
    fileprivate struct Target: Hashable {
        let high: Int64
        let low: Int64
    }

    fileprivate var target: Target { Target(high: high, low: low) }
}

/// Supersedes waiting pushes by newer ones with the same key that are due no later. A push that is due earlier is sent
/// at its own time, and the newer one replaces it on the device later.
///
/// `collapses` has the waiting pushes with a collapse id. Claimed pushes do not change, because they may already be
/// sent. When such a push returns to the queue, newer pushes that were accepted in the meantime supersede it, unless
/// they are due later.
enum Collapses {
    /// Settles pushes as superseded that wait in older batches, have one of the keys, and are not due before the push
    /// that has this key here.
    static func supersedeOlder(
        than key: Int64, dueTimes: PushColumn<WallTime>, _ collapsible: [CollapseKey], _ db: Database,
        _ state: inout QueueState, now: WallTime
    ) throws {
        guard state.mayCollapse else { return }
        let older = try db.cachedStatement(
            sql: "SELECT key, push FROM collapses WHERE high = ? AND low = ? AND key < ?"
        )
        // By batch and push: when the earliest newer push is due.
        var newerDues: [Int64: [UInt16: WallTime]] = [:]
        for target in collapsible {
            let newerDue = dueTimes[Int(target.push)] ?? now
            let rows = try Row.fetchCursor(older, arguments: [target.high, target.low, key])
            while let row = try rows.next() {
                let push: UInt16 = row[1]
                let earlier = newerDues[row[0]]?[push] ?? newerDue
                newerDues[row[0], default: [:]][push] = min(earlier, newerDue)
            }
        }
        for (key, pushes) in newerDues {
            guard case .waiting(var batch) = try QueuedBatch.find(key, db) else { continue }
            let ledger = batch.ledger
            let superseded = Set(pushes.filter { $1 <= max(ledger.due(of: Int($0)), now) }.keys)
            guard !superseded.isEmpty else { continue }
            try supersede(superseded, of: &batch, db, &state, now: now)
            try batch.updateWaiting(db)
        }
    }

    /// Inserts the pushes of a batch that starts to wait. Of those with the same key only the last one stays.
    static func insert(
        _ collapsible: [CollapseKey], of batch: inout QueuedBatch, _ db: Database, _ state: inout QueueState,
        now: WallTime
    ) throws {
        state.mayCollapse = true
        let insert = try db.cachedStatement(
            sql: "INSERT OR IGNORE INTO collapses (high, low, key, push) VALUES (?, ?, ?, ?)"
        )
        var targets: Set<CollapseKey.Target> = []
        var superseded: Set<UInt16> = []
        for key in collapsible.reversed() where !batch.ledger.isSettled(Int(key.push)) {
            let due = max(batch.ledger.due(of: Int(key.push)), now)
            if try !targets.insert(key.target).inserted || isNewer(than: batch.key, key, dueUntil: due, db, state) {
                superseded.insert(key.push)
            } else {
                try insert.execute(arguments: [key.high, key.low, batch.key, Int(key.push)])
            }
        }
        batch.marks.insert(.collapses)
        try supersede(superseded, of: &batch, db, &state, now: now)
        try batch.updateWaiting(db)
    }

    /// The keys of a batch that has waited before.
    static func inserted(of batch: QueuedBatch, _ db: Database) throws -> [CollapseKey] {
        let statement = try db.cachedStatement(
            sql: "SELECT high, low, push FROM collapses WHERE key = ? ORDER BY push"
        )
        return try Row.fetchAll(statement, arguments: [batch.key]).map {
            CollapseKey(high: $0[0], low: $0[1], push: $0[2])
        }
    }

    /// Deletes the keys of cancelled and superseded pushes, which no longer supersede others.
    static func delete(_ update: BatchUpdate, of key: Int64, _ db: Database) throws {
        let delete = try db.cachedStatement(sql: "DELETE FROM collapses WHERE key = ? AND push = ?")
        for outcome in update.outcomes where outcome.verdict == .cancelled || outcome.verdict == .suppressed {
            try delete.execute(arguments: [key, Int(outcome.index)])
        }
    }

    /// Whether a newer push with the same key was settled, or is due by `due`, or was handed out before that.
    private static func isNewer(
        than key: Int64, _ target: CollapseKey, dueUntil due: WallTime, _ db: Database, _ state: QueueState
    ) throws -> Bool {
        let newer = try db.cachedStatement(
            sql: "SELECT key, push FROM collapses WHERE high = ? AND low = ? AND key > ?"
        )
        for row in try Row.fetchAll(newer, arguments: [target.high, target.low, key]) {
            let ledger: BatchLedger?
            switch try QueuedBatch.find(row[0], db) {
            case .leased(let id): ledger = state.held[id]?.batch.ledger
            case .waiting(let batch): ledger = batch.ledger
            // It is unknown whether it was sent, and a duplicate is better than none.
            case .damaged, .none: continue
            }
            let push: Int = row[1]
            guard let ledger else { return true }
            if ledger.isSettled(push) || ledger.due(of: push) <= due { return true }
        }
        return false
    }

    private static func supersede(
        _ pushes: Set<UInt16>, of batch: inout QueuedBatch, _ db: Database, _ state: inout QueueState, now: WallTime
    ) throws {
        var update = BatchUpdate(
            at: now,
            outcomes: pushes.sorted().map { index in
                Outcome(
                    index: index, verdict: .suppressed, code: .superseded,
                    attempts: batch.ledger.attempts(of: Int(index))
                )
            }
        )
        try batch.record(&update, db, &state)
    }
}
