import APNSWire
import Foundation
import GRDB
import PushModel
import PushStore

/// Looks up the states of pushes. Reads the rows of each batch once.
struct Find {
    let db: Database
    let now: WallTime

    func run(_ ids: [PushID]) throws -> [PushStatus?] {
        var statuses = [PushStatus?](repeating: nil, count: ids.count)
        for (batch, positions) in Dictionary(grouping: ids.indices, by: { ids[$0].batch }) {
            guard let record = try Record.read(batch, db) else { continue }
            let latest = try latestUpdates(of: positions.map { ids[$0].index }, record)
            for position in positions {
                let id = ids[position]
                guard id.index < record.count else { continue }
                statuses[position] = status(of: id, record, latest[id.index])
            }
        }
        return statuses
    }

    private enum LatestUpdate {
        case outcome(Outcome, at: WallTime)
        case retry(Retry, at: WallTime)
        case replay(at: WallTime)
    }

    private func latestUpdates(of indexes: [Int], _ record: Record) throws -> [Int: LatestUpdate] {
        var isWanted = [Bool](repeating: false, count: record.count)
        for index in indexes where index < record.count { isWanted[index] = true }
        let keys = ProgressKey.updates(ofBatch: record.key)
        let rows = try Data.fetchAll(
            db.cachedStatement(sql: "SELECT body FROM progress WHERE key BETWEEN ? AND ? ORDER BY key"),
            arguments: [keys.lowerBound, keys.upperBound]
        )
        var latest: [Int: LatestUpdate] = [:]
        for row in rows {
            // Skip an unreadable update. The next claim ends the batch.
            guard let stored = try? ProgressCodec.decode(row, of: record.id, pushes: record.count) else { continue }
            for update in stored.updates {
                for index in update.replays where isWanted[Int(index)] { latest[Int(index)] = .replay(at: update.at) }
                for retry in update.retries where isWanted[Int(retry.index)] {
                    latest[Int(retry.index)] = .retry(retry, at: update.at)
                }
                for outcome in update.outcomes where isWanted[Int(outcome.index)] {
                    latest[Int(outcome.index)] = .outcome(outcome, at: update.at)
                }
            }
        }
        return latest
    }

    private func status(of id: PushID, _ record: Record, _ update: LatestUpdate?) -> PushStatus {
        var status = PushStatus(
            id: id, app: record.app, environment: record.environment, lane: record.lane, state: .queued,
            acceptedAt: record.acceptedAt, updatedAt: record.acceptedAt
        )
        switch update {
        case .retry where record.hasEnded, .replay where record.hasEnded, nil where record.hasEnded:
            // The record of its outcome cannot be read.
            status.state = .settled(.givenUp)
            status.code = .storedDataDamaged
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
            let isSending = record.isLeased && retry.due <= now
            status.state = isSending ? .sending : .retrying
            status.code = retry.code
            status.status = retry.status
            status.reason = retry.reason
            status.attempts = retry.attempts
            status.updatedAt = at
            status.nextAttemptAt = isSending ? nil : retry.due
        case .replay(let at):
            if record.isLeased { status.state = .sending }
            status.updatedAt = at
        case nil:
            if let due = record.dueTimes[id.index], due > now {
                status.state = .scheduled
                status.nextAttemptAt = due
            } else if record.isLeased {
                status.state = .sending
            }
        }
        return status
    }
}

/// The record of a batch, and its lease and schedule while it is in the queue.
private struct Record {
    var id: BatchID
    var key: Int64
    var app: AppID
    var environment: APNSEnvironment
    var lane: Lane
    var acceptedAt: WallTime
    var count: Int
    var dueTimes: PushColumn<WallTime>
    var isLeased: Bool
    var hasEnded: Bool

    static func read(_ id: BatchID, _ db: Database) throws -> Record? {
        let statement = try db.cachedStatement(
            sql: """
                SELECT r.key, r.app, r.environment, r.lane, r.accepted_at, r.count, b.first_due, b.last_due, coalesce(b.leased, 0),
                    b.key IS NULL
                FROM records r LEFT JOIN batches b ON b.key = r.key WHERE r.id = ?
                """
        )
        guard let row = try Row.fetchOne(statement, arguments: [id.bytes]) else { return nil }
        return Record(
            id: id, key: row[0], app: AppID(row[1]), environment: try APNSEnvironment(stored: row[2]),
            lane: try Lane(stored: row[3]), acceptedAt: WallTime(milliseconds: row[4]), count: row[5],
            dueTimes: try dueTimes(ClosedRange(storedFirst: row[6], last: row[7]), key: row[0], db), isLeased: row[8],
            hasEnded: row[9]
        )
    }

    /// Reads the body only if the pushes are due at different times.
    private static func dueTimes(
        _ schedule: ClosedRange<WallTime>?, key: Int64, _ db: Database
    ) throws -> PushColumn<WallTime> {
        guard let schedule, schedule.lowerBound < schedule.upperBound else {
            return PushColumn(shared: schedule?.lowerBound)
        }
        let statement = try db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?")
        let body = try Data.fetchOne(statement, arguments: [key]) ?? Data()
        return (try? BatchCodec.decodeDueTimes(body)) ?? PushColumn()
    }
}
