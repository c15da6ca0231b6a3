import APNSWire
package import Foundation
import PushModel
import SwiftProtobuf

/// Encodes an update as `godwit.v1.Progress`, the form that every backend stores.
package enum ProgressCodec {
    package static func encode(_ update: BatchUpdate) -> Data {
        let count = update.outcomes.count + update.retries.count + update.replays.count + update.sends.count
        var rows = ProgressRows(capacity: count)
        for replay in update.replays { rows.append(replay, .replayed) }
        for send in update.sends { rows.append(send, .sent) }
        for outcome in update.outcomes { rows.append(outcome) }
        for retry in update.retries { rows.append(retry) }
        do {
            return try rows.stored(at: update.at).serializedBytes()
        } catch {
            // Encoding fails only for messages with required fields (proto2) or of 2 GiB and more.
            preconditionFailure("an update of \(rows.indexes.count) pushes cannot be encoded: \(error)")
        }
    }

    /// Decodes the output of `encode`, of this or another version or language.
    ///
    /// - Parameter pushes: the number of pushes of the batch.
    /// - Throws: if columns contradict each other, or a value is out of range, or a state or error code is unknown to
    ///   this version.
    package static func decode(_ bytes: Data, pushes: Int) throws(CodecError) -> BatchUpdate {
        let stored: StoredProgress
        do {
            stored = try StoredProgress(serializedBytes: bytes)
        } catch {
            throw CodecError("not a progress message")
        }
        var update = BatchUpdate(at: WallTime(milliseconds: stored.atMs))
        let rows = stored.indexes.count
        guard rows > 0 else { return update }
        guard !stored.states.isEmpty else { throw CodecError("column states is missing") }
        let states = try FoldedColumn(stored.states, absent: .unspecified, rows: rows, name: "states")
        let codes = try FoldedColumn(stored.codes, absent: 0, rows: rows, name: "codes")
        let statuses = try FoldedColumn(stored.httpStatuses, absent: 0, rows: rows, name: "http_statuses")
        let attempts = try FoldedColumn(stored.attempts, absent: 0, rows: rows, name: "attempts")
        let dues = try FoldedColumn(stored.dueMs, absent: 0, rows: rows, name: "due_ms")
        let tokenDeadAt = try FoldedColumn(stored.tokenDeadAtMs, absent: 0, rows: rows, name: "token_dead_at_ms")
        let reasons = [.known(.none)] + stored.reasons.map(ReasonText.init(text:))
        let reasonIndexes = try FoldedColumn(stored.reasonIndexes, absent: 0, rows: rows, name: "reason_indexes")
        for row in 0..<rows {
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
            if states[row] == .retry {
                update.retries.append(
                    Retry(
                        index: index, code: code, status: status, attempts: attempts, reason: reason,
                        due: WallTime(milliseconds: dues[row])
                    )
                )
            } else if states[row] == .replayed {
                update.replays.append(index)
            } else if states[row] == .sent {
                update.sends.append(index)
            } else {
                guard let verdict = Verdict(states[row]) else {
                    throw CodecError("unknown state \(states[row].rawValue)")
                }
                update.outcomes.append(
                    Outcome(
                        index: index, verdict: verdict, code: code, status: status, attempts: attempts, reason: reason,
                        tokenDeadAt: tokenDeadAt[row]
                    )
                )
            }
        }
        return update
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
    private var reasonIndexes: [UInt32] = []
    private var reasons: [String] = []
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

    mutating func append(_ index: UInt16, _ state: StoredProgress.State) {
        append(index, state, .none, 0, 0, .known(.none), due: 0, deadAt: 0)
    }

    mutating func append(_ outcome: Outcome) {
        append(
            outcome.index, StoredProgress.State(outcome.verdict), outcome.code, outcome.status, outcome.attempts,
            outcome.reason, due: 0, deadAt: outcome.tokenDeadAt
        )
    }

    mutating func append(_ retry: Retry) {
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
        stored.reasonIndexes = ColumnFolding.folded(reasonIndexes, absent: 0)
        stored.reasons = reasons
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
