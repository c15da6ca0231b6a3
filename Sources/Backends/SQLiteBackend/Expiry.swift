import Foundation
import GRDB
import PushModel
import PushStore

/// Settles waiting pushes whose deadline has passed as expired. Claimed pushes do not change: they may already be sent.
///
/// `batches.deadline` is a lower bound: what settles pushes need not know the deadlines of the others. So a batch may be
/// looked at without effect, but then its next time is known.
struct Expiry {
    /// A batch whose deadline has passed, decoded outside of the writer.
    struct Candidate: Sendable {
        let key: Int64
        /// nil if it cannot be read.
        let content: Batch?
        /// Of its record.
        let details: [Data]?
    }

    /// The earliest time at which a batch is looked at again: bounds the work for a batch whose pushes all have different
    /// expirations.
    private static let pause: Duration = .seconds(1)

    let db: Database
    let policy: DeliveryPolicy
    let now: WallTime

    /// The key and body of batches whose deadline has passed.
    ///
    /// - Parameter bytesMax: the bytes of bodies after which none is added.
    static func due(
        _ db: Database, until now: WallTime, batchesMax: Int, bytesMax: Int
    ) throws -> [(key: Int64, body: Data)] {
        let statement = try db.cachedStatement(
            sql: """
                SELECT key, (SELECT body FROM bodies WHERE bodies.key = batches.key)
                FROM batches INDEXED BY batches_deadline
                WHERE leased = 0 AND deadline <= ? ORDER BY deadline LIMIT ?
                """
        )
        let rows = try Row.fetchCursor(statement, arguments: [now.milliseconds, batchesMax])
        var due: [(key: Int64, body: Data)] = []
        var bytes = 0
        while bytes < bytesMax, let row = try rows.next() {
            due.append((row[0], row[1] as Data? ?? Data()))
            bytes += due[due.count - 1].body.count
        }
        return due
    }

    func run(_ candidates: [Candidate], _ state: inout QueueState) throws {
        for candidate in candidates { try run(candidate, &state) }
    }

    private func run(_ candidate: Candidate, _ state: inout QueueState) throws {
        switch try QueuedBatch.find(candidate.key, db) {
        case .none, .leased: return
        // The next claim ends it.
        case .damaged: try note(.distantFuture, of: candidate.key)
        case .waiting(var batch):
            guard let content = candidate.content, content.id == batch.id, content.count == batch.ledger.count else {
                return try note(.distantFuture, of: candidate.key)
            }
            batch.details.fill(candidate.details)
            try run(&batch, content, &state)
        }
    }

    private func run(_ batch: inout QueuedBatch, _ content: Batch, _ state: inout QueueState) throws {
        let deadlines = Deadlines(of: batch.ledger.restartingLifetimes(of: content), policy: policy)
        let waiting = batch.ledger.pending(until: .distantFuture)
        let expired = waiting.filter { deadlines[$0.index] <= now }
        if !expired.isEmpty {
            var update = BatchUpdate(at: now, outcomes: expired.map { $0.expired() })
            try batch.record(&update, db, &state)
            try batch.updateWaiting(db)
        }
        guard !batch.ledger.isFinished else { return }
        let next = waiting.lazy.map { deadlines[$0.index] }.filter { $0 > now }.min() ?? .distantFuture
        try note(max(next, now + Self.pause), of: batch.key)
    }

    private func note(_ deadline: WallTime, of key: Int64) throws {
        try db.cachedStatement(sql: "UPDATE batches SET deadline = ? WHERE key = ?")
            .execute(arguments: [deadline.milliseconds, key])
    }
}
