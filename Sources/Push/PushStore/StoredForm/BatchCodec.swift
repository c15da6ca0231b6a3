import APNSWire
package import Foundation
package import PushModel
import SwiftProtobuf

/// Encodes a batch as `godwit.v1.Batch`, the form that every backend stores.
///
/// Copies whole columns and passes once over small integers. Allocates nothing per push.
package enum BatchCodec {
    package static func encode(_ batch: Batch) -> Data {
        let pushes = batch.notifications
        var stored = StoredBatch()
        stored.id = batch.id.bytes
        stored.app = batch.app.name
        stored.environment = StoredEnvironment(batch.environment)
        stored.lane = StoredLane(batch.lane)
        stored.acceptedAtMs = batch.acceptedAt.milliseconds
        stored.dueAfterMs = dueAfter(batch)
        if batch.hasOrigin { stored.origin = StoredOrigin(of: batch) }
        stored.dropUnanswered = batch.ambiguity == .drop
        stored.headers = pushes.headers.map(StoredHeaders.init)
        stored.count = UInt32(pushes.count)
        encodeTokens(of: pushes, into: &stored)
        encodePayloads(of: pushes, into: &stored)
        encodeSmallColumns(of: pushes, into: &stored)
        do {
            stored.crc32C = StoredChecksum.placeholder
            var bytes: Data = try stored.serializedBytes()
            StoredChecksum.fill(&bytes)
            return bytes
        } catch {
            // Encoding fails only for messages with required fields (proto2) or of 2 GiB and more.
            preconditionFailure("a batch of \(pushes.byteCount) bytes cannot be encoded: \(error)")
        }
    }

    private static func dueAfter(_ batch: Batch) -> [Int64] {
        func offset(_ due: WallTime?) -> Int64 { due.map { $0.milliseconds &- batch.acceptedAt.milliseconds } ?? 0 }
        if let times = batch.dueTimes.values { return times.map(offset) }
        return batch.dueTimes.isAbsent ? [] : [offset(batch.dueTimes.shared)]
    }

    private static func encodeTokens(of pushes: NotificationBatch, into stored: inout StoredBatch) {
        var lengths: [UInt32] = []
        lengths.reserveCapacity(pushes.count)
        var end: UInt32 = 0
        var isTiled = true
        for entry in pushes.entries {
            isTiled = isTiled && entry.tokenStart == end
            end += UInt32(entry.tokenLength)
            lengths.append(UInt32(entry.tokenLength))
        }
        if isTiled && Int(end) == pushes.tokens.count {
            stored.tokens = Data(pushes.tokens)
        } else {
            var tokens = Data(capacity: Int(end))
            for index in pushes.entries.indices { tokens.append(contentsOf: pushes.token(at: index)) }
            stored.tokens = tokens
        }
        stored.tokenLengths = ColumnFolding.folded(lengths, absent: nil)
    }

    private static func encodePayloads(of pushes: NotificationBatch, into stored: inout StoredBatch) {
        var distinct = DistinctPayloads(capacity: pushes.count)
        var indexes: [UInt32] = []
        indexes.reserveCapacity(pushes.count)
        for entry in pushes.entries { indexes.append(distinct.index(of: entry)) }
        stored.payloadLengths = distinct.ranges.map { UInt32($0.count) }
        if distinct.isTiled && distinct.end == pushes.payloads.count {
            stored.payloads = Data(pushes.payloads)
        } else {
            var payloads = Data()
            for range in distinct.ranges { payloads.append(contentsOf: pushes.payloads[range]) }
            stored.payloads = payloads
        }
        // Indexes are assigned in ascending order: with as many payloads as pushes, push i has payload i.
        stored.payloadIndexes = distinct.ranges.count == pushes.count ? [] : ColumnFolding.folded(indexes, absent: nil)
    }

    private static func encodeSmallColumns(of pushes: NotificationBatch, into stored: inout StoredBatch) {
        if pushes.entries.contains(where: { $0.headersIndex != 0 }) {
            stored.headersIndexes = pushes.entries.map { UInt32($0.headersIndex) }
        }
        let first = pushes.entries[0].expiration
        if pushes.entries.contains(where: { $0.expiration != first }) {
            stored.expirations = pushes.entries.map(\.expiration)
        } else {
            stored.expirations = first == NotificationBatch.noExpiration ? [] : [first]
        }
    }
}

/// The distinct payloads of a batch, in the order of their first push.
private struct DistinctPayloads {
    private(set) var ranges: [Range<Int>] = []
    /// Whether `ranges` follow each other without gaps from 0 to `end`.
    private(set) var isTiled = true
    private(set) var end = 0
    /// The highest end of any payload so far.
    private var highest = 0
    /// Filled when a push refers to an earlier payload, which never happens in batches built push by push.
    private var indexByRange: [Range<Int>: UInt32] = [:]

    init(capacity: Int) {
        ranges.reserveCapacity(capacity)
    }

    mutating func index(of entry: NotificationBatch.Entry) -> UInt32 {
        let start = Int(entry.payloadStart)
        let range = start..<start + Int(entry.payloadLength)
        if let last = ranges.last {
            if last == range { return UInt32(ranges.count - 1) }
            if start < highest, let known = earlierIndex(of: range) { return known }
        }
        isTiled = isTiled && start == end
        end = range.upperBound
        highest = max(highest, end)
        ranges.append(range)
        if !indexByRange.isEmpty { indexByRange[range] = UInt32(ranges.count - 1) }
        return UInt32(ranges.count - 1)
    }

    private mutating func earlierIndex(of range: Range<Int>) -> UInt32? {
        if indexByRange.isEmpty {
            for (index, known) in ranges.enumerated() { indexByRange[known] = UInt32(index) }
        }
        return indexByRange[range]
    }
}
