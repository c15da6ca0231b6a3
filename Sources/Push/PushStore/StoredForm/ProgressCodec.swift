import APNSWire
package import Foundation
package import PushModel
import SwiftProtobuf

/// A stored record of the progress of a batch. Backends keep them in the order in which they were written.
package struct ProgressRecord: Sendable, Equatable {
    /// When it was written.
    package var at: WallTime
    /// In order. One, unless the record replaces several.
    package var updates: [BatchUpdate]

    package init(at: WallTime, updates: [BatchUpdate]) {
        self.at = at
        self.updates = updates
    }
}

/// Encodes updates as `godwit.v1.Progress`, the form that every backend stores.
package enum ProgressCodec {
    package static func encode(_ update: BatchUpdate, of batch: BatchID) -> Data {
        var rows = ProgressRows(capacity: update.rowCount)
        rows.append(update)
        return serialized(rows, at: update.at, of: batch)
    }

    /// Encodes one record that replaces several.
    package static func encode(_ record: ProgressRecord, of batch: BatchID) -> Data {
        var rows = ProgressRows(capacity: record.updates.reduce(0) { $0 + $1.rowCount })
        for update in record.updates {
            rows.append(update)
            rows.note(before: record.at.milliseconds &- update.at.milliseconds, rows: update.rowCount)
        }
        return serialized(rows, at: record.at, of: batch)
    }

    private static func serialized(_ rows: ProgressRows, at: WallTime, of batch: BatchID) -> Data {
        do {
            var bytes: Data = try rows.stored(at: at).serializedBytes()
            StoredChecksum.fill(&bytes, of: batch)
            return bytes
        } catch {
            // Encoding fails only for messages with required fields (proto2) or of 2 GiB and more.
            preconditionFailure("an update of \(rows.indexes.count) pushes cannot be encoded: \(error)")
        }
    }

    /// Decodes the output of `encode`, of this or another version or language.
    ///
    /// - Parameter pushes: the number of pushes of the batch.
    /// - Throws: `damaged` unless the checksum matches; otherwise, if columns contradict each other, or a value is out of
    ///   range, or a state or error code is unknown to this version.
    package static func decode(_ bytes: Data, of batch: BatchID, pushes: Int) throws(CodecError) -> ProgressRecord {
        try StoredChecksum.check(bytes, of: batch)
        let stored: StoredProgress
        do {
            stored = try StoredProgress(serializedBytes: bytes)
        } catch {
            throw CodecError("not a progress message")
        }
        var record = ProgressRecord(at: WallTime(milliseconds: stored.atMs), updates: [])
        let rows = stored.indexes.count
        guard rows > 0 else { return record }
        let columns = try ProgressColumns(stored)
        let before = try FoldedColumn(stored.beforeMs, absent: 0, rows: rows, name: "before_ms")
        var update = BatchUpdate(at: WallTime(milliseconds: stored.atMs &- before[0]))
        for row in 0..<rows {
            let at = WallTime(milliseconds: stored.atMs &- before[row])
            let startsUpdate = at != update.at || columns.kind(of: row) != columns.kind(of: max(row - 1, 0))
            // Otherwise the kinds of rows apply in the order of `BatchUpdate`, wherever they are.
            if startsUpdate, !stored.beforeMs.isEmpty {
                record.updates.append(update)
                update = BatchUpdate(at: at)
            }
            try columns.append(row, to: &update, pushes: pushes)
        }
        record.updates.append(update)
        return record
    }
}

extension BatchUpdate {
    fileprivate var rowCount: Int { outcomes.count + retries.count + replays.count + sends.count }
}

/// The columns of a stored progress message.
private struct ProgressColumns {
    private let stored: StoredProgress
    private let states: FoldedColumn<StoredProgress.State>
    private let codes: FoldedColumn<UInt32>
    private let statuses: FoldedColumn<UInt32>
    private let attempts: FoldedColumn<UInt32>
    private let dues: FoldedColumn<Int64>
    private let tokenDeadAt: FoldedColumn<Int64>
    private let uniqueIDs: FoldedColumn<String>
    private let reasons: [ReasonText]
    private let reasonIndexes: FoldedColumn<UInt32>

    init(_ stored: StoredProgress) throws(CodecError) {
        guard !stored.states.isEmpty else { throw CodecError("column states is missing") }
        let rows = stored.indexes.count
        self.stored = stored
        states = try FoldedColumn(stored.states, absent: .unspecified, rows: rows, name: "states")
        codes = try FoldedColumn(stored.codes, absent: 0, rows: rows, name: "codes")
        statuses = try FoldedColumn(stored.httpStatuses, absent: 0, rows: rows, name: "http_statuses")
        attempts = try FoldedColumn(stored.attempts, absent: 0, rows: rows, name: "attempts")
        dues = try FoldedColumn(stored.dueMs, absent: 0, rows: rows, name: "due_ms")
        tokenDeadAt = try FoldedColumn(stored.tokenDeadAtMs, absent: 0, rows: rows, name: "token_dead_at_ms")
        uniqueIDs = try FoldedColumn(stored.apnsUniqueIds, absent: "", rows: rows, name: "apns_unique_ids")
        reasons = [.known(.none)] + stored.reasons.map(ReasonText.init(text:))
        reasonIndexes = try FoldedColumn(stored.reasonIndexes, absent: 0, rows: rows, name: "reason_indexes")
    }

    /// `.retry`, `.replayed`, `.sent`, or nil for an outcome.
    func kind(of row: Int) -> StoredProgress.State? {
        switch states[row] {
        case .retry, .replayed, .sent: states[row]
        default: nil
        }
    }

    func append(_ row: Int, to update: inout BatchUpdate, pushes: Int) throws(CodecError) {
        guard let index = UInt16(exactly: stored.indexes[row]), index < pushes else {
            throw CodecError("push \(stored.indexes[row]) of a batch of \(pushes)")
        }
        guard let code = UInt16(exactly: codes[row]).flatMap(ErrorCode.init) else {
            throw CodecError("unknown error code \(codes[row])")
        }
        guard let status = UInt16(exactly: statuses[row]), let attempts = UInt16(exactly: attempts[row]) else {
            throw CodecError("a status or a number of attempts over 65,535")
        }
        guard reasonIndexes[row] < reasons.count else { throw CodecError("reason index \(reasonIndexes[row])") }
        let reason = reasons[Int(reasonIndexes[row])]
        switch states[row] {
        case .retry:
            update.retries.append(
                Retry(
                    index: index, code: code, status: status, attempts: attempts, reason: reason,
                    due: WallTime(milliseconds: dues[row])
                )
            )
        case .replayed: update.replays.append(index)
        case .sent: update.sends.append(index)
        case let state:
            guard let verdict = Verdict(state) else { throw CodecError("unknown state \(state.rawValue)") }
            update.outcomes.append(
                Outcome(
                    index: index, verdict: verdict, code: code, status: status, attempts: attempts, reason: reason,
                    tokenDeadAt: tokenDeadAt[row], uniqueID: uniqueIDs[row].isEmpty ? nil : uniqueIDs[row]
                )
            )
        }
    }
}

/// The columns of a progress message under construction.
private struct ProgressRows {
    private(set) var indexes: [UInt32] = []
    private var states: [StoredProgress.State] = []
    private var codes: [UInt32] = []
    private var statuses: [UInt32] = []
    private var attempts: [UInt32] = []
    private var dues: [Int64] = []
    private var tokenDeadAt: [Int64] = []
    /// Shorter than the other columns: the further rows have none.
    private var uniqueIDs: [String] = []
    private var reasonIndexes: [UInt32] = []
    private var reasons: [String] = []
    /// Empty unless `note` was called for all rows.
    private var before: [Int64] = []
    /// Adjacent rows usually have the same reason, so that the dictionary is rarely needed.
    private var lastReason: (text: ReasonText, index: UInt32) = (.known(.none), 0)
    private var indexByReason: [ReasonText: UInt32] = [.known(.none): 0]

    init(capacity: Int) {
        indexes.reserveCapacity(capacity)
        states.reserveCapacity(capacity)
        codes.reserveCapacity(capacity)
        statuses.reserveCapacity(capacity)
        attempts.reserveCapacity(capacity)
        dues.reserveCapacity(capacity)
        tokenDeadAt.reserveCapacity(capacity)
        reasonIndexes.reserveCapacity(capacity)
    }

    mutating func append(_ update: BatchUpdate) {
        for replay in update.replays { append(replay, .replayed) }
        for send in update.sends { append(send, .sent) }
        for outcome in update.outcomes { append(outcome) }
        for retry in update.retries { append(retry) }
    }

    /// - Parameter before: how long before the record the last `rows` rows happened, in milliseconds.
    mutating func note(before: Int64, rows: Int) {
        self.before.append(contentsOf: repeatElement(before, count: rows))
    }

    private mutating func append(_ index: UInt16, _ state: StoredProgress.State) {
        append(index, state, .none, 0, 0, .known(.none), due: 0, deadAt: 0)
    }

    private mutating func append(_ outcome: Outcome) {
        if let id = outcome.uniqueID {
            uniqueIDs.append(contentsOf: repeatElement("", count: indexes.count - uniqueIDs.count))
            uniqueIDs.append(id)
        }
        append(
            outcome.index, StoredProgress.State(outcome.verdict), outcome.code, outcome.status, outcome.attempts,
            outcome.reason, due: 0, deadAt: outcome.tokenDeadAt
        )
    }

    private mutating func append(_ retry: Retry) {
        append(
            retry.index, .retry, retry.code, retry.status, retry.attempts, retry.reason, due: retry.due.milliseconds,
            deadAt: 0
        )
    }

    private mutating func append(
        _ index: UInt16, _ state: StoredProgress.State, _ code: ErrorCode, _ status: UInt16, _ tried: UInt16,
        _ reason: ReasonText, due: Int64, deadAt: Int64
    ) {
        indexes.append(UInt32(index))
        states.append(state)
        codes.append(UInt32(code.rawValue))
        statuses.append(UInt32(status))
        attempts.append(UInt32(tried))
        dues.append(due)
        tokenDeadAt.append(deadAt)
        reasonIndexes.append(indexOf(reason))
    }

    private mutating func indexOf(_ reason: ReasonText) -> UInt32 {
        if reason == lastReason.text { return lastReason.index }
        let index: UInt32
        if let known = indexByReason[reason] {
            index = known
        } else {
            // A reason without text counts as none.
            let text = reason.text
            if text.isEmpty {
                index = 0
            } else {
                reasons.append(text)
                index = UInt32(reasons.count)
            }
            indexByReason[reason] = index
        }
        lastReason = (reason, index)
        return index
    }

    func stored(at: WallTime) -> StoredProgress {
        var stored = StoredProgress()
        stored.atMs = at.milliseconds
        stored.indexes = indexes
        stored.states = ColumnFolding.folded(states, absent: nil)
        stored.codes = ColumnFolding.folded(codes, absent: 0)
        stored.httpStatuses = ColumnFolding.folded(statuses, absent: 0)
        stored.attempts = ColumnFolding.folded(attempts, absent: 0)
        stored.dueMs = ColumnFolding.folded(dues, absent: 0)
        stored.tokenDeadAtMs = ColumnFolding.folded(tokenDeadAt, absent: 0)
        if !uniqueIDs.isEmpty {
            let rest = repeatElement("", count: indexes.count - uniqueIDs.count)
            stored.apnsUniqueIds = ColumnFolding.folded(uniqueIDs + rest, absent: "")
        }
        stored.reasonIndexes = ColumnFolding.folded(reasonIndexes, absent: 0)
        stored.reasons = reasons
        // Not left out if all are zero: the rows apply in their order.
        stored.beforeMs = ColumnFolding.folded(before, absent: nil)
        stored.crc32C = StoredChecksum.placeholder
        return stored
    }
}

extension StoredProgress.State {
    fileprivate init(_ verdict: Verdict) {
        switch verdict {
        case .delivered: self = .delivered
        case .rejected: self = .rejected
        case .expired: self = .expired
        case .cancelled: self = .cancelled
        case .suppressed: self = .suppressed
        case .givenUp: self = .givenUp
        }
    }
}

extension Verdict {
    fileprivate init?(_ state: StoredProgress.State) {
        switch state {
        case .delivered: self = .delivered
        case .rejected: self = .rejected
        case .expired: self = .expired
        case .cancelled: self = .cancelled
        case .suppressed: self = .suppressed
        case .givenUp: self = .givenUp
        case .unspecified, .retry, .replayed, .sent, .UNRECOGNIZED: return nil
        }
    }
}
