import APNSWire
import Foundation
import PushModel
import PushStore
import SwiftProtobuf
import Testing

@Suite struct `Encoded batches` {
    @Test(arguments: [1, 2, 7, 500, 1000])
    func `decode to the same batch`(count: Int) throws {
        var generator = SeededGenerator(seed: UInt64(count))
        for _ in 0..<10 {
            let batch = Samples.batch(count, using: &generator)
            #expect(try BatchCodec.decode(BatchCodec.encode(batch)) == batch)
        }
    }

    @Test func `have a payload that all pushes share only once`() throws {
        let text = "{\"aps\":{\"alert\":\"\(String(repeating: "x", count: 4000))\"}}"
        let batch = Samples.uniform(1000) { _ in text }
        let bytes = BatchCodec.encode(batch)
        #expect(bytes.count < 1000 * 32 + text.utf8.count + 200)
        #expect(try BatchCodec.decode(bytes) == batch)
    }

    @Test func `need no space for columns of equal values`() throws {
        let batch = Samples.uniform(1000) { "{\"n\":\(1000 + $0)}" }
        // 32 bytes of token, 10 of payload, one for the payload's length.
        #expect(BatchCodec.encode(batch).count < 1000 * 43 + 120)
    }

    /// Decoders may share a payload between pushes that are not adjacent, and leave gaps.
    @Test func `keep every push with payloads shared out of order and columns with gaps`() throws {
        let tokens = [UInt8](0..<40)
        let payloads = Array("--{\"a\":1}--{\"b\":2}".utf8)
        let headers = [
            NotificationHeaders(topic: "t", pushType: .alert), NotificationHeaders(topic: "u", pushType: .voip),
        ]
        func entry(_ token: UInt32, _ payload: UInt32, _ headers: UInt16) -> NotificationBatch.Entry {
            NotificationBatch.Entry(
                tokenStart: token, tokenLength: 8, payloadStart: payload, payloadLength: 7, headersIndex: headers,
                expiration: 5
            )
        }
        let id = BatchID.random(at: Samples.now)
        let pushes = try #require(
            NotificationBatch(
                firstID: id.value, entries: [entry(16, 11, 1), entry(0, 2, 0), entry(24, 11, 0), entry(0, 2, 1)],
                headers: headers, tokens: tokens, payloads: payloads
            )
        )
        let batch = Batch(id: id, app: AppID("app"), lane: .urgent, acceptedAt: Samples.now, notifications: pushes)
        let decoded = try BatchCodec.decode(BatchCodec.encode(batch)).notifications
        #expect(decoded.payloads.count == 14)
        for index in 0..<4 {
            #expect(decoded.token(at: index) == pushes.token(at: index))
            #expect(decoded.payload(at: index) == pushes.payload(at: index))
            #expect(
                decoded.headers[Int(decoded.entries[index].headersIndex)]
                    == headers[Int(pushes.entries[index].headersIndex)])
            #expect(decoded.entries[index].expiration == 5)
        }
        // A decoded batch encodes and decodes again.
        let again = try BatchCodec.decode(BatchCodec.encode(batch))
        #expect(try BatchCodec.decode(BatchCodec.encode(again)) == again)
    }

    @Test func `have the bytes of the UUID as id`() throws {
        let text = "0190aabb-ccdd-7e01-8203-040506070000"
        let id = try #require(APNSID(text).flatMap(BatchID.init))
        #expect(id.bytes == Data([1, 0x90, 0xAA, 0xBB, 0xCC, 0xDD, 0x7E, 1, 0x82, 3, 4, 5, 6, 7, 0, 0]))
        #expect(BatchID(bytes: id.bytes) == id)
        #expect(BatchID(bytes: id.bytes.dropLast()) == nil)
        #expect(BatchID(bytes: Data(repeating: 1, count: 16)) == nil)
    }

    @Test(arguments: 0..<20)
    func `are decoded or refused after any damage, without a crash`(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let bytes = BatchCodec.encode(Samples.batch(Int.random(in: 1...20, using: &generator), using: &generator))
        for _ in 0..<500 {
            let damaged = mutated(bytes, using: &generator)
            #expect(damaged == bytes || (try? BatchCodec.decode(damaged)) == nil)
            // As if a later version had written it.
            guard let batch = try? BatchCodec.decode(resealed(damaged)) else { continue }
            // Every push of an accepted batch can be used.
            for index in 0..<batch.count {
                _ = batch.notifications.payload(at: index)
                #expect(!batch.notifications.token(at: index).isEmpty)
            }
            #expect(try BatchCodec.decode(BatchCodec.encode(batch)).notifications.count == batch.count)
        }
    }

    @Test func `are not empty and not garbage`() {
        #expect(throws: CodecError.damaged) { try BatchCodec.decode(Data()) }
        #expect(throws: CodecError.damaged) { try BatchCodec.decode(Data("garbage".utf8)) }
    }

    @Test func `are damaged if any bit differs`() {
        let bytes = BatchCodec.encode(Samples.uniform(2) { "{\"n\":\($0)}" })
        for bit in 0..<8 * bytes.count {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: CodecError.damaged) { try BatchCodec.decode(damaged) }
            #expect(throws: CodecError.damaged) { try BatchCodec.decodeDueTimes(damaged) }
        }
    }

    @Test func `give the due times of the pushes alone`() throws {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<20 {
            let batch = Samples.batch(9, using: &generator)
            #expect(try BatchCodec.decodeDueTimes(BatchCodec.encode(batch)) == batch.dueTimes)
        }
    }

    /// Each change makes the columns of a good batch contradict each other.
    @Test(arguments: Contradiction.allCases)
    func `are refused if their columns contradict each other`(_ contradiction: Contradiction) throws {
        var stored = try StoredBatch(
            serializedBytes: BatchCodec.encode(Samples.uniform(3) { "{\"n\":\($0)}" })
        )
        contradiction.apply(to: &stored)
        let bytes = resealed(try stored.serializedBytes())
        let error = #expect(throws: CodecError.self) { try BatchCodec.decode(bytes) }
        #expect(error != .damaged)
    }

    enum Contradiction: CaseIterable {
        case noCount, countTooHigh, overThousand, shortID, idOfAPush, noLane, unknownLane, noTokenLengths, tokenLengths
        case emptyToken, longToken, tokensTooShort, tokensTooLong, payloadLengths, payloadsTooShort, payloadTooLong
        case payloadIndexes, payloadIndexTooHigh, headersIndexes, headersIndexTooHigh, noHeaders, unknownPushType
        case unknownPriority, expirations, negativeExpiration, noEnvironment, unknownEnvironment, dueAfter
        case clients, clientTooHigh

        func apply(to stored: inout StoredBatch) {
            switch self {
            case .noCount: stored.count = 0
            case .countTooHigh: stored.count = 4
            case .overThousand:
                stored.count = 1001
                stored.tokens = Data(count: 32 * 1001)
                stored.payloadIndexes = [0]
            case .shortID: stored.id.removeLast()
            case .idOfAPush: stored.id[15] = 1
            case .noLane: stored.lane = .unspecified
            case .unknownLane: stored.lane = .UNRECOGNIZED(9)
            case .noTokenLengths: stored.tokenLengths = []
            case .tokenLengths: stored.tokenLengths = [48, 48]
            case .emptyToken: stored.tokenLengths = [0, 48, 48]
            case .longToken:
                stored.tokenLengths = [256, 1, 1]
                stored.tokens = Data(count: 258)
            case .tokensTooShort: stored.tokens.removeLast()
            case .tokensTooLong: stored.tokens.append(0)
            case .payloadLengths: stored.payloadLengths.removeLast()
            case .payloadsTooShort: stored.payloads.removeLast()
            case .payloadTooLong:
                stored.payloadLengths = [65_536, 0, 0]
                stored.payloads = Data(count: 65_536)
            case .payloadIndexes: stored.payloadIndexes = [0, 1]
            case .payloadIndexTooHigh: stored.payloadIndexes = [0, 1, 3]
            case .headersIndexes: stored.headersIndexes = [0, 0]
            case .headersIndexTooHigh: stored.headersIndexes = [0, 0, 1]
            case .noHeaders: stored.headers = []
            case .unknownPushType: stored.headers[0].pushType = "telegram"
            case .unknownPriority: stored.headers[0].priority = 266
            case .expirations: stored.expirations = [1, 2]
            case .negativeExpiration: stored.expirations = [-2]
            case .noEnvironment: stored.environment = .unspecified
            case .unknownEnvironment: stored.environment = .UNRECOGNIZED(3)
            case .dueAfter: stored.dueAfterMs = [1, 2]
            case .clients: stored.origin.clients.indexes = [1, 1]
            case .clientTooHigh:
                stored.origin.clients.texts = ["a"]
                stored.origin.clients.indexes = [0, 1, 2]
            }
        }
    }
}
