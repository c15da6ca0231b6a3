import APNSWire
import Foundation
import PushModel
import PushStore
import SwiftProtobuf
import Testing

/// The bytes of this version, which later versions have to read. With `GODWIT_UPDATE_GOLDEN=1` missing files are written; a
/// file is never changed.
private enum Golden {
    static func file(_ name: String) -> URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden/\(name).hex")
    }

    static func bytes(_ name: String, orWrite bytes: Data) throws -> Data {
        let file = file(name)
        if ProcessInfo.processInfo.environment["GODWIT_UPDATE_GOLDEN"] == "1",
            !FileManager.default.fileExists(atPath: file.path)
        {
            let lines = stride(from: 0, to: bytes.count, by: 32).map { start in
                bytes[start..<min(start + 32, bytes.count)].map { String(format: "%02x", $0) }.joined()
            }
            try (lines.joined(separator: "\n") + "\n").write(to: file, atomically: true, encoding: .utf8)
        }
        let digits = try String(contentsOf: file, encoding: .utf8).filter { !$0.isNewline }
        return Data(
            stride(from: 0, to: digits.count, by: 2).map { offset in
                let start = digits.index(digits.startIndex, offsetBy: offset)
                return UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16)!
            }
        )
    }

    /// The message as a later version may write it: with a field that this one does not know.
    static func extended(_ bytes: Data, of batch: BatchID? = nil) -> Data {
        // Field 90, a text of three bytes.
        resealed(bytes.dropLast(StoredChecksum.byteCount) + [0xD2, 0x05, 3, 97, 98, 99] + Data(count: 6), of: batch)
    }
}

@Suite struct `The stored form of this version` {
    private static let id = BatchID(
        bytes: Data([1, 0x90, 0xAA, 0xBB, 0xCC, 0xDD, 0x7E, 1, 0x82, 3, 4, 5, 6, 7, 0, 0]))!
    private static let at = WallTime(milliseconds: 1_790_000_000_123)

    enum BatchShape: String, CaseIterable {
        case smallest = "batch-smallest"
        case folded = "batch-folded"
        case full = "batch-full"

        var batch: Batch {
            var pushes = NotificationBatch(firstID: id.value)
            let isFull = self == .full
            for index in 0..<(self == .smallest ? 1 : 3) {
                let headers = NotificationHeaders(
                    topic: "com.example.app", pushType: isFull && index == 2 ? .background : .alert,
                    priority: isFull && index == 2 ? .conserving : nil, collapseID: isFull && index == 1 ? "score" : nil
                )
                [UInt8](repeating: UInt8(index), count: isFull ? 32 + index : 32).withUnsafeBytes { token in
                    Array(isFull ? "{\"aps\":{\"badge\":\(index)}}".utf8 : "{\"aps\":{}}".utf8).withUnsafeBytes {
                        pushes.append(
                            token: token, payload: $0, headers: headers,
                            expiration: isFull ? [NotificationBatch.noExpiration, 0, 1_790_003_600][index] : 0
                        )
                    }
                }
            }
            switch self {
            case .smallest:
                return Batch(id: id, app: AppID("app"), lane: .normal, acceptedAt: at, notifications: pushes)
            case .folded:
                return Batch(
                    id: id, app: AppID("app"), lane: .urgent, acceptedAt: at,
                    dueTimes: PushColumn(shared: at + .seconds(60)), notifications: pushes,
                    clients: PushColumn(shared: "client"), traceparents: PushColumn(shared: "00-1-2-01"),
                    requestIDs: PushColumn(shared: "request")
                )
            case .full:
                return Batch(
                    id: id, app: AppID("größe"), environment: .sandbox, lane: .bulk, acceptedAt: at,
                    dueTimes: PushColumn([nil, at + .milliseconds(1), at + .seconds(1800)]), notifications: pushes,
                    clients: PushColumn(["a", "b", "a"]), traceparents: PushColumn(["00-1-2-01", nil, nil]),
                    requestIDs: PushColumn(["r1", "r2", nil]), ambiguity: .drop
                )
            }
        }
    }

    @Test(arguments: BatchShape.allCases)
    func `has the golden bytes of a batch, and reads them with unknown fields`(_ shape: BatchShape) throws {
        let batch = shape.batch
        let golden = try Golden.bytes(shape.rawValue, orWrite: BatchCodec.encode(batch))
        #expect(BatchCodec.encode(batch) == golden)
        #expect(try BatchCodec.decode(golden) == batch)
        #expect(try BatchCodec.decode(Golden.extended(golden)) == batch)
    }

    enum ProgressShape: String, CaseIterable {
        case delivered = "progress-delivered"
        case full = "progress-full"
        case replacing = "progress-replacing"

        var record: ProgressRecord {
            let outcomes = (0..<3).map { Samples.outcome($0) }
            let dead = Outcome(
                index: 3, verdict: .rejected, code: .notSubscribed, status: 410, attempts: 2,
                reason: .known(.unregistered), tokenDeadAt: 1_789_000_000_000
            )
            let odd = Outcome(
                index: 4, verdict: .givenUp, code: .unknownAnswer, status: 418, attempts: 1, reason: .verbatim("Teapot")
            )
            switch self {
            case .delivered:
                return ProgressRecord(at: at, updates: [BatchUpdate(at: at, outcomes: outcomes)])
            case .full:
                let update = BatchUpdate(
                    at: at, outcomes: [dead, odd], retries: [Samples.retry(5, attempts: 3, due: at + .seconds(9))],
                    replays: [6, 7], sends: [8]
                )
                return ProgressRecord(at: at, updates: [update])
            case .replacing:
                let retry = Samples.retry(1, due: at + .seconds(5))
                let updates = [
                    BatchUpdate(at: at + .seconds(-60), outcomes: [dead]), BatchUpdate(at: at, outcomes: [odd]),
                    BatchUpdate(at: at, retries: [retry]), BatchUpdate(at: at, sends: [1]),
                ]
                return ProgressRecord(at: at, updates: updates)
            }
        }

        var bytes: Data {
            self == .replacing ? ProgressCodec.encode(record, of: id) : ProgressCodec.encode(record.updates[0], of: id)
        }
    }

    @Test(arguments: ProgressShape.allCases)
    func `has the golden bytes of progress, and reads them with unknown fields`(_ shape: ProgressShape) throws {
        let golden = try Golden.bytes(shape.rawValue, orWrite: shape.bytes)
        #expect(shape.bytes == golden)
        #expect(try ProgressCodec.decode(golden, of: Self.id, pushes: 9) == shape.record)
        let extended = Golden.extended(golden, of: Self.id)
        #expect(try ProgressCodec.decode(extended, of: Self.id, pushes: 9) == shape.record)
    }

    /// Nothing writes these messages yet.
    @Test func `has the golden bytes of a record and an outbox entry`() throws {
        var origin = StoredOrigin()
        origin.clients.texts = ["a", "b"]
        origin.clients.indexes = [1, 2]
        origin.requestIds.texts = ["request"]
        var details = StoredRecordDetails()
        details.origin = origin
        details.tokenHashes = [1, .max]
        details.crc32C = 7
        let record = try Golden.bytes("record-details", orWrite: details.serializedBytes())
        #expect(try details.serializedBytes() == record)
        #expect(try StoredRecordDetails(serializedBytes: record) == details)

        var entry = StoredOutboxEntry()
        entry.batchID = Self.id.bytes
        entry.app = "app"
        entry.environment = .sandbox
        entry.lane = .bulk
        entry.acceptedAtMs = Self.at.milliseconds
        entry.progress = try StoredProgress(serializedBytes: ProgressShape.delivered.bytes)
        entry.origin = origin
        entry.tokenHashes = [9]
        entry.crc32C = 7
        let outbox = try Golden.bytes("outbox-entry", orWrite: entry.serializedBytes())
        #expect(try entry.serializedBytes() == outbox)
        #expect(try StoredOutboxEntry(serializedBytes: outbox) == entry)
    }
}
