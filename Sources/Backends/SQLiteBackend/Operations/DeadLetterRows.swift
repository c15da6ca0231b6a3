import APNSWire
import Foundation
import GRDB
import PushModel
import PushStore

/// Pushes that were given up. The body of their batch stays with the last of them.
enum DeadLetterRows {
    static func insert(_ update: BatchUpdate, of batch: inout QueuedBatch, _ db: Database) throws {
        for outcome in update.outcomes where outcome.verdict == .givenUp {
            batch.marks.insert(.deadLetters)
            try db.cachedStatement(
                sql: """
                    INSERT OR REPLACE INTO dead_letters (id, key, app, environment, lane, code, status, reason, attempts,
                        accepted_at, given_up_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """
            ).execute(arguments: [
                batch.id.push(Int(outcome.index)).bytes, batch.key, batch.appLane.app.name,
                Int(batch.appLane.appEnvironment.environment.code), Int(batch.appLane.lane.rawValue),
                Int(outcome.code.rawValue), Int(outcome.status), outcome.reason.text,
                Int(outcome.attempts), batch.acceptedAt.milliseconds, update.at.milliseconds,
            ])
        }
    }

    static func exist(of batch: BatchID, _ db: Database) throws -> Bool {
        let statement = try db.cachedStatement(
            sql: "SELECT EXISTS (SELECT 1 FROM dead_letters WHERE id BETWEEN ? AND ?)"
        )
        return try Bool.fetchOne(statement, arguments: [batch.bytes, batch.push(0xFFFF).bytes]) ?? false
    }

    /// By ascending id, after `after`.
    static func list(of app: AppID?, after: PushID?, limit: Int, _ db: Database) throws -> [DeadLetter] {
        let (condition, arguments): (String, StatementArguments) =
            if let app { ("app = ? AND", [app.name]) } else { ("", []) }
        let statement = try db.cachedStatement(
            sql: "SELECT \(columns) FROM dead_letters WHERE \(condition) id > ? ORDER BY id LIMIT ?"
        )
        let rows = try Row.fetchAll(statement, arguments: arguments + [after?.bytes ?? Data(), limit])
        return try rows.map(letter)
    }

    static func find(_ id: PushID, _ db: Database) throws -> DeadLetter? {
        let statement = try db.cachedStatement(sql: "SELECT \(columns) FROM dead_letters WHERE id = ?")
        return try Row.fetchOne(statement, arguments: [id.bytes]).map(letter)
    }

    /// The batch of a dead letter; nil if its stored bytes cannot be read.
    static func batch(of id: BatchID, key: Int64, _ db: Database) throws -> Batch? {
        let statement = try db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?")
        guard let body = try Data.fetchOne(statement, arguments: [key]), let batch = try? BatchCodec.decode(body),
            batch.id == id
        else { return nil }
        return batch
    }

    static func key(of batch: BatchID, _ db: Database) throws -> Int64? {
        let statement = try db.cachedStatement(sql: "SELECT key FROM records WHERE id = ?")
        return try Int64.fetchOne(statement, arguments: [batch.bytes])
    }

    /// Deletes dead letters of one batch, and its body if they were the last and the batch is not in the queue.
    static func delete(_ ids: [PushID], of batch: BatchID, key: Int64, _ db: Database) throws {
        let delete = try db.cachedStatement(sql: "DELETE FROM dead_letters WHERE id = ?")
        for id in ids { try delete.execute(arguments: [id.bytes]) }
        guard try !exist(of: batch, db) else { return }
        try db.cachedStatement(
            sql:
                "DELETE FROM bodies WHERE key = ? AND NOT EXISTS (SELECT 1 FROM batches WHERE batches.key = bodies.key)"
        ).execute(arguments: [key])
    }

    private static let columns = "id, app, lane, code, status, reason, attempts, accepted_at, given_up_at"

    private static func letter(_ row: Row) throws -> DeadLetter {
        DeadLetter(
            id: try PushID(stored: row[0]), app: AppID(row[1]), lane: try Lane(stored: row[2]),
            code: ErrorCode(rawValue: row[3]) ?? .givenUp, status: row[4], reason: ReasonText(text: row[5]),
            attempts: row[6], acceptedAt: WallTime(milliseconds: row[7]), givenUpAt: WallTime(milliseconds: row[8])
        )
    }
}

extension DeadLetterContent {
    init(_ batch: Batch, _ index: Int) {
        let entry = batch.notifications.entries[index]
        let headers = batch.notifications.headers[Int(entry.headersIndex)]
        self.init(
            topic: headers.topic, pushType: headers.pushType.description, tokenBytes: Int(entry.tokenLength),
            payloadBytes: Int(entry.payloadLength),
            expiration: entry.expiration == NotificationBatch.noExpiration ? nil : entry.expiration,
            collapseID: headers.collapseID
        )
    }
}
