import Foundation
import GRDB
import PushModel
import PushStore

/// What was answered to requests with an idempotency key.
enum Idempotency {
    static func find(_ key: IdempotencyKey, now: WallTime, _ db: Database) throws -> IdempotencyRecord? {
        let statement = try db.cachedStatement(sql: "SELECT fingerprint, body, at FROM idempotency WHERE key = ?")
        guard let row = try Row.fetchOne(statement, arguments: [key.digest]) else { return nil }
        let answer = IdempotencyRecord(
            fingerprint: row[0], body: row[1], at: WallTime(milliseconds: row[2])
        )
        return answer.at + IdempotencyKey.lifetime > now ? answer : nil
    }

    /// - Throws: the key is known, and not too old.
    static func remember(_ answers: [IdempotencyKey: IdempotencyRecord], _ db: Database) throws {
        let insert = try db.cachedStatement(
            sql: """
                INSERT INTO idempotency (key, fingerprint, body, at) VALUES (?, ?, ?, ?)
                ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, body = excluded.body, at = excluded.at
                WHERE at <= ?
                """
        )
        for (key, answer) in answers {
            try insert.execute(arguments: [
                key.digest, answer.fingerprint, answer.body, answer.at.milliseconds,
                Self.oldest(at: answer.at).milliseconds,
            ])
            guard db.changesCount == 1 else {
                throw QueueError.unavailable("an answer to this idempotency key is known already", isOutcomeKnown: true)
            }
        }
    }

    /// What was answered then or before is forgotten.
    static func oldest(at now: WallTime) -> WallTime { now + (.zero - IdempotencyKey.lifetime) }
}
