import Foundation
import GRDB
import PushModel
import PushStore

/// Stored responses to requests with an idempotency key.
enum IdempotencyRows {
    static func find(_ key: IdempotencyKey, now: WallTime, _ db: Database) throws -> IdempotencyRecord? {
        let statement = try db.cachedStatement(sql: "SELECT fingerprint, body, at FROM idempotency WHERE key = ?")
        guard let row = try Row.fetchOne(statement, arguments: [key.digest]) else { return nil }
        let record = IdempotencyRecord(
            fingerprint: row[0], body: row[1], at: WallTime(milliseconds: row[2])
        )
        return record.at > expiryLimit(at: now) ? record : nil
    }

    /// - Throws: `idempotencyKeyUsed` if a key has a record that has not expired.
    static func insert(
        _ records: [IdempotencyKey: IdempotencyRecord], _ db: Database, _ state: inout QueueState
    ) throws {
        let expired = try db.cachedStatement(
            sql: "DELETE FROM idempotency WHERE key = ? AND at <= ? RETURNING length(body)")
        let insert = try db.cachedStatement(
            sql: """
                INSERT INTO idempotency (key, fingerprint, body, at) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING
                """
        )
        for (key, record) in records {
            let limit = expiryLimit(at: record.at).milliseconds
            if let bytes = try Int.fetchAll(expired, arguments: [key.digest, limit]).first {
                state.responses.add(records: -1, bytes: -bytes)
            }
            try insert.execute(arguments: [key.digest, record.fingerprint, record.body, record.at.milliseconds])
            state.responses.add(records: 1, bytes: record.body.count)
            guard db.changesCount == 1 else {
                throw QueueError.idempotencyKeyUsed
            }
        }
    }

    /// Records of this time or earlier have expired.
    static func expiryLimit(at now: WallTime) -> WallTime { now + (.zero - IdempotencyKey.lifetime) }
}
