#if Postgres
import APNSWire
import Foundation
import PostgresLink
import PushModel
import PushStore

/// Reads and deletes dead letters.
enum DeadLetters {
    /// By ascending ID, after `after`.
    static func list(
        of app: AppID?, after: PushID?, limit: Int, _ connection: PostgresConnection
    ) async throws(QueueError) -> [DeadLetter] {
        let call = PostgresCall(app == nil ? "dead_letters" : "dead_letters_of_app", app == nil ? allSQL : appSQL) {
            $0.append(after.map(PostgresUUID.init) ?? PostgresUUID(high: 0, low: 0))
            $0.append(Int32(clamping: limit))
            if let app { $0.append(app.name) }
        }
        return try letters(try await connection.execute(call))
    }

    /// Those of `ids` that are dead letters, by ascending ID.
    static func find(_ ids: [PushID], _ connection: PostgresConnection) async throws(QueueError) -> [DeadLetter] {
        let call = PostgresCall("dead_letters_find", findSQL) { $0.append(ids: ids) }
        return try letters(try await connection.execute(call))
    }

    /// The batch of a dead letter; nil if it cannot be read.
    static func content(of id: BatchID, _ connection: PostgresConnection) async throws(QueueError) -> Batch? {
        let rows = try await connection.execute(
            PostgresCall("dead_letters_content", contentSQL) { $0.append(PostgresUUID(id)) })
        guard rows.count > 0, let batch = try? BatchCodec.decode(rows.withBytes(0, 0) { Data($0) }), batch.id == id
        else { return nil }
        return batch
    }

    private static func letters(_ rows: PostgresRows) throws(QueueError) -> [DeadLetter] {
        try mappingErrors { () throws(PostgresError) in
            var letters: [DeadLetter] = []
            for row in 0..<rows.count {
                let appLane = try rows.appLane(row, 1)
                letters.append(
                    DeadLetter(
                        id: try rows.value(row, 0, as: PostgresUUID.self).pushID, app: appLane.app, lane: appLane.lane,
                        code: ErrorCode(rawValue: UInt16(truncatingIfNeeded: try rows.int32(row, 4))) ?? .givenUp,
                        status: UInt16(truncatingIfNeeded: try rows.int32(row, 5)),
                        reason: ReasonText(text: try rows.value(row, 6)),
                        attempts: UInt16(truncatingIfNeeded: try rows.int32(row, 7)),
                        acceptedAt: try rows.time(row, 8), givenUpAt: try rows.time(row, 9)))
            }
            return letters
        }
    }

    /// Deletes dead letters, and the bodies of ended batches that have no more of them.
    ///
    /// - Returns: the number of deleted dead letters.
    static func purge(_ ids: [PushID], _ connection: PostgresConnection) async throws(QueueError) -> Int {
        let results = try await connection.execute([
            PostgresCall("dead_letters_delete", "DELETE FROM dead_letters WHERE id = ANY($1)") { $0.append(ids: ids) },
            PostgresCall("dead_letters_bodies", bodiesSQL) { $0.append(ids: Set(ids.map(\.batch))) },
        ])
        return results[0].affectedCount
    }

    private static let columns = """
        d.id, d.app, d.environment, d.lane, d.code, d.status, d.reason, d.attempts, d.accepted_at, d.given_up_at
        """
    private static let allSQL = "SELECT \(columns) FROM dead_letters d WHERE d.id > $1 ORDER BY d.id LIMIT $2"
    private static let appSQL = """
        SELECT \(columns) FROM dead_letters d WHERE d.id > $1 AND d.app = $3 ORDER BY d.id LIMIT $2
        """
    private static let findSQL = "SELECT \(columns) FROM dead_letters d WHERE d.id = ANY($1) ORDER BY d.id"
    private static let contentSQL = """
        SELECT b.body FROM batches b WHERE b.id = $1 UNION ALL SELECT o.body FROM bodies o WHERE o.id = $1
        """
    private static let bodiesSQL = """
        DELETE FROM bodies o WHERE o.id = ANY($1) AND NOT EXISTS (
            SELECT 1 FROM dead_letters d WHERE d.id BETWEEN o.id AND (substr(o.id::text, 1, 32) || 'ffff')::uuid)
        """
}

/// The dead letters of a selection, in bounded steps, so that other calls can run in between.
struct DeadLetterSteps {
    private static let lettersPerStep = 500

    private let app: AppID?
    /// Those that are left, descending; nil: all of the app.
    private var ids: [PushID]?
    private var after: PushID?

    init(_ selection: DeadLetterSelection) {
        switch selection {
        case .ids(let ids):
            app = nil
            self.ids = Set(ids).sorted(by: >)
        case .app(let app): self.app = app
        }
    }

    /// - Returns: nil at the end. A step may be empty.
    mutating func next(_ connection: PostgresConnection) async throws(QueueError) -> [PushID]? {
        if let left = ids {
            guard !left.isEmpty else { return nil }
            ids = left.dropLast(Self.lettersPerStep)
            return try await DeadLetters.find(Array(left.suffix(Self.lettersPerStep)), connection).map(\.id)
        }
        let letters = try await DeadLetters.list(of: app, after: after, limit: Self.lettersPerStep, connection)
        after = letters.last?.id
        return letters.isEmpty ? nil : letters.map(\.id)
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
#endif
