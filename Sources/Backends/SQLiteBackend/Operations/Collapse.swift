import APNSWire
import Crypto
import Foundation
import GRDB
import PushModel
import PushStore

/// Which pushes replace each other while they wait: those of one app to one device with one collapse id.
struct CollapseKey: Sendable, Equatable {
    /// 128 bits of the SHA-256 of app, device token and collapse id. A hash that is stable over restarts; so many bits
    /// that two different pushes never meet in it by chance or by design.
    let high: Int64
    let low: Int64
    let push: UInt16

    /// The keys of the pushes that have a collapse id, by index; of batches without any the cost is a look at the
    /// headers.
    static func keys(of batch: Batch) -> [CollapseKey] {
        let pushes = batch.notifications
        guard pushes.headers.contains(where: { $0.collapseID != nil }) else { return [] }
        let app = Array(batch.app.name.utf8)
        var keys: [CollapseKey] = []
        for (index, entry) in pushes.entries.enumerated() {
            guard let collapseID = pushes.headers[Int(entry.headersIndex)].collapseID else { continue }
            let token = pushes.token(at: index)
            var hash = SHA256()
            // The lengths keep "ab" + "c" apart from "a" + "bc".
            hash.update(data: [UInt8(truncatingIfNeeded: app.count), UInt8(truncatingIfNeeded: token.count)])
            hash.update(data: app)
            hash.update(data: token)
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

    /// Without the push: what two pushes have in common that replace each other.
    fileprivate struct Target: Hashable {
        let high: Int64
        let low: Int64
    }

    fileprivate var target: Target { Target(high: high, low: low) }
}

/// The pushes that a newer one supersedes: those that are not due before it. One that is due earlier has its own time
/// to be sent; on the device the newer one takes its place when that comes.
///
/// `collapses` holds what waits and has a collapse id. What is claimed may be on its way and is left alone; when it
/// comes back to wait, it gives way to newer pushes that came in the meantime, unless those are due later.
enum Collapses {
    /// Settles as superseded what waits in older batches, has one of the keys, and is not due before the newer batch.
    static func supersedeOlder(
        than key: Int64, dueAt newerDue: WallTime, _ collapsible: [CollapseKey], _ db: Database,
        _ state: inout QueueState, now: WallTime
    ) throws {
        guard state.mayCollapse else { return }
        let older = try db.cachedStatement(
            sql: "SELECT key, push FROM collapses WHERE high = ? AND low = ? AND key < ?"
        )
        var pushesByBatch: [Int64: Set<UInt16>] = [:]
        for wanted in collapsible {
            let rows = try Row.fetchCursor(older, arguments: [wanted.high, wanted.low, key])
            while let row = try rows.next() { pushesByBatch[row[0], default: []].insert(row[1]) }
        }
        for (key, pushes) in pushesByBatch {
            guard case .waiting(var batch) = try QueuedBatch.find(key, db) else { continue }
            let ledger = batch.ledger
            let late = pushes.filter { newerDue <= max(ledger.due(of: Int($0)), now) }
            guard !late.isEmpty else { continue }
            try supersede(late, of: &batch, db, &state, now: now)
            try batch.updateWaiting(db)
        }
    }

    /// Enters the pushes of a batch that waits from now on. Of those that replace each other the last counts.
    static func enter(
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
            if try !targets.insert(key.target).inserted || isNewer(than: batch.key, key, dueUntil: due, db) {
                superseded.insert(key.push)
            } else {
                try insert.execute(arguments: [key.high, key.low, batch.key, Int(key.push)])
            }
        }
        batch.marks.insert(.collapses)
        try supersede(superseded, of: &batch, db, &state, now: now)
        try batch.updateWaiting(db)
    }

    /// The keys of a batch that waited before.
    static func entered(of batch: QueuedBatch, _ db: Database) throws -> [CollapseKey] {
        let statement = try db.cachedStatement(
            sql: "SELECT high, low, push FROM collapses WHERE key = ? ORDER BY push"
        )
        return try Row.fetchAll(statement, arguments: [batch.key]).map {
            CollapseKey(high: $0[0], low: $0[1], push: $0[2])
        }
    }

    /// What was settled on purpose neither waits nor supersedes any more.
    static func forget(_ news: BatchUpdate, of key: Int64, _ db: Database) throws {
        let delete = try db.cachedStatement(sql: "DELETE FROM collapses WHERE key = ? AND push = ?")
        for outcome in news.outcomes where outcome.verdict == .cancelled || outcome.verdict == .suppressed {
            try delete.execute(arguments: [key, Int(outcome.index)])
        }
    }

    /// Whether a newer push of the same target is on its way already, or will be by `due`.
    private static func isNewer(
        than key: Int64, _ wanted: CollapseKey, dueUntil due: WallTime, _ db: Database
    ) throws -> Bool {
        let newer = try db.cachedStatement(
            sql: "SELECT key, push FROM collapses WHERE high = ? AND low = ? AND key > ?"
        )
        for row in try Row.fetchAll(newer, arguments: [wanted.high, wanted.low, key]) {
            switch try QueuedBatch.find(row[0], db) {
            case .leased: return true
            case .waiting(let batch):
                let push: Int = row[1]
                if batch.ledger.isSettled(push) || batch.ledger.due(of: push) <= due { return true }
            // Nobody knows whether it was sent; two are better than none.
            case .damaged, .none: continue
            }
        }
        return false
    }

    private static func supersede(
        _ pushes: Set<UInt16>, of batch: inout QueuedBatch, _ db: Database, _ state: inout QueueState, now: WallTime
    ) throws {
        var news = BatchUpdate(
            at: now,
            outcomes: pushes.sorted().map { index in
                Outcome(
                    index: index, verdict: .suppressed, code: .superseded,
                    attempts: batch.ledger.attempts(of: Int(index))
                )
            }
        )
        try batch.record(&news, db, &state)
    }
}
