import APNSWire
package import Foundation
package import PushModel
import SwiftProtobuf

/// What stays of a batch for searches when its content is deleted: `godwit.v1.RecordDetails` in the stored form.
///
/// It is stored in parts of up to 100 pushes, about 400 bytes each: a page of a database holds several of them. A value
/// of half a page would cost a whole one.
package struct RecordDetails: Sendable, Equatable {
    package static let pushesPerPart = 100

    /// Parallel to the pushes.
    package let tokenHashes: [UInt32]
    /// The IDs of the requests that brought the pushes.
    package let requestIDs: PushColumn<String>

    package init(of batch: Batch, key: TokenHashKey) {
        tokenHashes = Self.hashes(of: batch, key: key)
        requestIDs = batch.requestIDs
    }

    /// - Parameters:
    ///   - parts: in order.
    ///   - pushes: the number of pushes of the batch.
    /// - Throws: `damaged` unless the checksums match; otherwise, if a column does not fit the batch.
    package init(stored parts: [Data], pushes: Int) throws(CodecError) {
        var hashes: [UInt32] = []
        hashes.reserveCapacity(pushes)
        var origin = StoredOrigin()
        for (index, bytes) in parts.enumerated() {
            try StoredChecksum.check(bytes)
            guard let stored = try? StoredRecordDetails(serializedBytes: bytes) else {
                throw CodecError("not the details of a record")
            }
            hashes += stored.tokenHashes
            if index == 0 { origin = stored.origin }
        }
        guard hashes.count == pushes else { throw CodecError("\(hashes.count) hashes for \(pushes) pushes") }
        tokenHashes = hashes
        requestIDs = try origin.requestIds.column(rows: pushes, name: "request_ids")
    }

    /// The stored form of the details of `batch`, in parts. The first has the origin of all pushes.
    package static func encode(_ batch: Batch, key: TokenHashKey) -> [Data] {
        let hashes = hashes(of: batch, key: key)
        return stride(from: 0, to: hashes.count, by: pushesPerPart).map { start in
            var stored = StoredRecordDetails()
            if start == 0, batch.hasOrigin { stored.origin = StoredOrigin(of: batch) }
            stored.tokenHashes = Array(hashes[start..<min(start + pushesPerPart, hashes.count)])
            return serialized(&stored)
        }
    }

    private static func serialized(_ stored: inout StoredRecordDetails) -> Data {
        stored.crc32C = StoredChecksum.placeholder
        do {
            var bytes: Data = try stored.serializedBytes()
            StoredChecksum.fill(&bytes)
            return bytes
        } catch {
            // Encoding fails only for messages with required fields (proto2) or of 2 GiB and more.
            preconditionFailure("the details of \(stored.tokenHashes.count) pushes cannot be encoded: \(error)")
        }
    }

    private static func hashes(of batch: Batch, key: TokenHashKey) -> [UInt32] {
        let pushes = batch.notifications
        return pushes.tokens.withUnsafeBytes { tokens in
            pushes.entries.map { entry in
                let start = Int(entry.tokenStart)
                return key.hash(UnsafeRawBufferPointer(rebasing: tokens[start..<start + Int(entry.tokenLength)]))
            }
        }
    }

    /// The pushes that may have the token and come from the request of `query`, of those with an index in `range`.
    ///
    /// - Parameter tokenHash: of the token of `query`.
    package func matchingIndexes(_ query: MessageQuery, tokenHash: UInt32?, in range: Range<Int>) -> [Int] {
        range.filter { index in
            (tokenHash == nil || tokenHashes[index] == tokenHash)
                && (query.requestID == nil || requestIDs[index] == query.requestID)
        }
    }
}
