import APNSWire
package import Foundation
package import PushModel
import SwiftProtobuf

extension BatchCodec {
    /// Decodes the output of `encode`, of this or another version or language. Skips unknown fields.
    ///
    /// - Throws: `damaged` unless the checksum matches; otherwise, if columns contradict each other, or a value is out of
    ///   range, or a push type is unknown to this version.
    package static func decode(_ bytes: Data) throws(CodecError) -> Batch {
        try StoredChecksum.check(bytes)
        let stored: StoredBatch
        do {
            stored = try StoredBatch(serializedBytes: bytes)
        } catch {
            throw CodecError("not a batch message")
        }
        guard let id = BatchID(bytes: stored.id) else {
            throw CodecError("a batch id has 16 bytes and ends in two zeros")
        }
        guard let environment = APNSEnvironment(stored.environment) else {
            throw CodecError("unknown environment \(stored.environment.rawValue)")
        }
        guard let lane = Lane(stored.lane) else { throw CodecError("unknown lane \(stored.lane.rawValue)") }
        guard (1...NotificationBatch.countMax).contains(Int(stored.count)) else {
            throw CodecError("a batch of \(stored.count) pushes")
        }
        guard stored.headers.count <= NotificationBatch.countMax else {
            throw CodecError("\(stored.headers.count) headers in a batch")
        }
        var headers: [NotificationHeaders] = []
        headers.reserveCapacity(stored.headers.count)
        for header in stored.headers { headers.append(try NotificationHeaders(header)) }
        let entries = try entries(of: stored)
        guard
            let pushes = NotificationBatch(
                firstID: id.value, entries: entries, headers: headers, tokens: [UInt8](stored.tokens),
                payloads: [UInt8](stored.payloads)
            )
        else { throw CodecError("a push refers to bytes outside of its columns") }
        return Batch(
            id: id, app: AppID(stored.app), environment: environment, lane: lane,
            acceptedAt: WallTime(milliseconds: stored.acceptedAtMs),
            dueTimes: try dueTimes(stored.dueAfterMs, acceptedAtMs: stored.acceptedAtMs, rows: Int(stored.count)),
            notifications: pushes,
            clients: try stored.origin.clients.column(rows: Int(stored.count), name: "clients"),
            traceparents: try stored.origin.traceparents.column(rows: Int(stored.count), name: "traceparents"),
            requestIDs: try stored.origin.requestIds.column(rows: Int(stored.count), name: "request_ids"),
            ambiguity: stored.dropUnanswered ? .drop : .resend
        )
    }

    /// When the pushes of an encoded batch are due, without its other columns.
    ///
    /// - Throws: as `decode`.
    package static func decodeDueTimes(_ bytes: Data) throws(CodecError) -> PushColumn<WallTime> {
        try StoredChecksum.check(bytes)
        var options = BinaryDecodingOptions()
        options.discardUnknownFields = true
        guard let stored = try? StoredBatchSchedule(serializedBytes: bytes, options: options) else {
            throw CodecError("not a batch message")
        }
        return try dueTimes(stored.dueAfterMs, acceptedAtMs: stored.acceptedAtMs, rows: Int(stored.count))
    }

    private static func dueTimes(
        _ column: [Int64], acceptedAtMs: Int64, rows: Int
    ) throws(CodecError) -> PushColumn<WallTime> {
        func due(_ offset: Int64) -> WallTime? {
            let (sum, overflow) = acceptedAtMs.addingReportingOverflow(offset)
            return offset == 0 ? nil : overflow ? .distantFuture : WallTime(milliseconds: sum)
        }
        guard column.count > 1 else { return PushColumn(shared: column.first.flatMap(due)) }
        guard column.count == rows else {
            throw CodecError("column due_after_ms has \(column.count) elements for \(rows) rows")
        }
        return PushColumn(column.map(due))
    }

    private static func entries(of stored: StoredBatch) throws(CodecError) -> [NotificationBatch.Entry] {
        let rows = Int(stored.count)
        guard !stored.tokenLengths.isEmpty else { throw CodecError("column token_lengths is missing") }
        let tokenLengths = try FoldedColumn(stored.tokenLengths, absent: 0, rows: rows, name: "token_lengths")
        let headersIndexes = try FoldedColumn(stored.headersIndexes, absent: 0, rows: rows, name: "headers_indexes")
        let expirations = try FoldedColumn(
            stored.expirations, absent: NotificationBatch.noExpiration, rows: rows, name: "expirations"
        )
        let payloads = try PayloadRanges(of: stored, rows: rows)
        var entries: [NotificationBatch.Entry] = []
        entries.reserveCapacity(rows)
        var tokenStart = 0
        for row in 0..<rows {
            let tokenLength = Int(tokenLengths[row])
            let headersIndex = headersIndexes[row]
            guard (1...APNSLimits.deviceTokenBytesMax).contains(tokenLength) else {
                throw CodecError("a token of \(tokenLength) bytes")
            }
            guard headersIndex < stored.headers.count else { throw CodecError("headers index \(headersIndex)") }
            let expiration = expirations[row]
            guard expiration >= NotificationBatch.noExpiration else { throw CodecError("expiration \(expiration)") }
            let (payloadStart, payloadLength) = try payloads.range(ofRow: row)
            entries.append(
                NotificationBatch.Entry(
                    tokenStart: UInt32(tokenStart), tokenLength: UInt8(tokenLength), payloadStart: payloadStart,
                    payloadLength: payloadLength, headersIndex: UInt16(headersIndex), expiration: expiration
                )
            )
            tokenStart += tokenLength
        }
        guard tokenStart == stored.tokens.count else {
            throw CodecError("\(stored.tokens.count) bytes of tokens, but the lengths add up to \(tokenStart)")
        }
        return entries
    }
}

/// The range of each push's payload.
private struct PayloadRanges {
    private let starts: [UInt32]
    private let lengths: [UInt32]
    /// nil: push *i* has payload *i*.
    private let indexes: FoldedColumn<UInt32>?

    init(of stored: StoredBatch, rows: Int) throws(CodecError) {
        guard (1...rows).contains(stored.payloadLengths.count) else {
            throw CodecError("\(stored.payloadLengths.count) payloads for \(rows) pushes")
        }
        var starts: [UInt32] = []
        starts.reserveCapacity(stored.payloadLengths.count)
        var end: UInt32 = 0
        for length in stored.payloadLengths {
            guard length <= UInt16.max else { throw CodecError("a payload of \(length) bytes") }
            starts.append(end)
            end += length
        }
        guard Int(end) == stored.payloads.count else {
            throw CodecError("\(stored.payloads.count) bytes of payloads, but the lengths add up to \(end)")
        }
        self.starts = starts
        lengths = stored.payloadLengths
        if stored.payloadIndexes.isEmpty {
            guard lengths.count == rows else { throw CodecError("\(lengths.count) payloads for \(rows) pushes") }
            indexes = nil
        } else {
            indexes = try FoldedColumn(stored.payloadIndexes, absent: 0, rows: rows, name: "payload_indexes")
        }
    }

    func range(ofRow row: Int) throws(CodecError) -> (start: UInt32, length: UInt16) {
        let index = indexes.map { Int($0[row]) } ?? row
        guard index < starts.count else { throw CodecError("payload index \(index)") }
        return (starts[index], UInt16(lengths[index]))
    }
}
