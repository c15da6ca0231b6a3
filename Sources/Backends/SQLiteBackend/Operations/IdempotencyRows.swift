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

    /// - Throws: `unavailable` if a key has a record that has not expired.
    static func insert(_ records: [IdempotencyKey: IdempotencyRecord], _ db: Database) throws {
        let insert = try db.cachedStatement(
            sql: """
                INSERT INTO idempotency (key, fingerprint, body, at) VALUES (?, ?, ?, ?)
                ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, body = excluded.body, at = excluded.at
                WHERE at <= ?
                """
        )
        for (key, record) in records {
            try insert.execute(arguments: [
                key.digest, record.fingerprint, record.body, record.at.milliseconds,
                expiryLimit(at: record.at).milliseconds,
            ])
            guard db.changesCount == 1 else {
                throw QueueError.unavailable("the idempotency key has a stored response", isOutcomeKnown: true)
            }
        }
    }

    /// Records of this time or earlier have expired.
    static func expiryLimit(at now: WallTime) -> WallTime { now + (.zero - IdempotencyKey.lifetime) }
}
