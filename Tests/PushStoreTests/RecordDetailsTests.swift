import APNSWire
import Foundation
import PushModel
import PushStore
import Testing

@Suite struct `The details of a record` {
    private static let key = TokenHashKey(bytes: Data(0..<16))!

    @Test(arguments: 0..<30)
    func `are read as they were written`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let batch = Samples.batch(Int.random(in: 1...1000, using: &random), using: &random)
        let parts = RecordDetails.encode(batch, key: Self.key)
        let details = try RecordDetails(stored: parts, pushes: batch.count)
        #expect(details == RecordDetails(of: batch, key: Self.key))
        for index in 0..<batch.count {
            let token = Array(batch.notifications.token(at: index))
            let hash = token.withUnsafeBytes(Self.key.hash)
            #expect(details.tokenHashes[index] == hash)
            let query = MessageQuery(token: token, requestID: batch.requestIDs[index])
            #expect(details.matchingIndexes(query, tokenHash: hash, in: 0..<batch.count).contains(index))
        }
        #expect(throws: CodecError.self) { try RecordDetails(stored: parts, pushes: batch.count + 1) }
        #expect(throws: CodecError.self) { try RecordDetails(stored: parts.dropLast(), pushes: batch.count) }
    }

    @Test func `take four bytes a push, and a few for the batch`() {
        let batch = Samples.uniform(1000) { _ in "{}" }
        #expect(RecordDetails.encode(batch, key: Self.key).map(\.count) == Array(repeating: 409, count: 10))
    }

    @Test func `are refused where a bit has changed`() throws {
        let bytes = RecordDetails.encode(Samples.uniform(3) { _ in "{}" }, key: Self.key)[0]
        for bit in 0..<bytes.count * 8 {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: CodecError.damaged) { try RecordDetails(stored: [damaged], pushes: 3) }
        }
    }
}

@Suite struct `The kinds of outcomes of a batch` {
    private func outcome(_ index: Int, _ verdict: Verdict, _ code: ErrorCode = .none) -> Outcome {
        Outcome(index: UInt16(index), verdict: verdict, code: code, attempts: 1)
    }

    private func ledger(_ updates: BatchUpdate...) -> BatchLedger {
        var ledger = BatchLedger(count: 6, acceptedAt: Samples.now)
        for var update in updates { ledger.record(&update) }
        return ledger
    }

    @Test func `are collected over all updates, each once`() throws {
        let kinds = ledger(
            BatchUpdate(
                at: Samples.now,
                outcomes: [
                    outcome(0, .rejected, .notSubscribed), outcome(1, .rejected, .badDeviceToken),
                    outcome(2, .rejected, .notSubscribed), outcome(3, .delivered),
                ],
                retries: [Samples.retry(5, due: Samples.now)]
            ),
            // The first one is ignored: its push is settled.
            BatchUpdate(at: Samples.now, outcomes: [outcome(0, .expired, .expired), outcome(4, .delivered)])
        ).outcomeKinds
        #expect(kinds.codes == [.notSubscribed, .badDeviceToken])
        #expect(Verdict.allCases.filter(kinds.contains) == [.delivered, .rejected])
        #expect(kinds.stateBits == 0b110)
        #expect(kinds.codeBytes == Data([0x0B, 0xBA, 0x0B, 0xBB]))
        #expect(try OutcomeKinds(stateBits: kinds.stateBits, codes: kinds.codeBytes) == kinds)
        #expect(throws: CodecError.self) { try OutcomeKinds(stateBits: 0, codes: Data([0xFF, 0xFF])) }
        #expect(throws: CodecError.self) { try OutcomeKinds(stateBits: 0, codes: Data([0x0B])) }
    }

    @Test func `exclude a batch from a search only if none of its pushes can match`() {
        let kinds = ledger(
            BatchUpdate(at: Samples.now, outcomes: [outcome(0, .rejected, .notSubscribed), outcome(1, .delivered)])
        ).outcomeKinds
        #expect(MessageQuery().canMatch(kinds))
        #expect(MessageQuery(states: [.settled(.delivered), .queued]).canMatch(kinds))
        #expect(!MessageQuery(states: [.settled(.expired)]).canMatch(kinds))
        #expect(!MessageQuery(states: [.queued, .sending, .retrying, .scheduled]).canMatch(kinds))
        #expect(MessageQuery(codes: [.notSubscribed, .expired]).canMatch(kinds))
        #expect(!MessageQuery(codes: [.expired]).canMatch(kinds))
        #expect(!MessageQuery(states: [.settled(.delivered)], codes: [.expired]).canMatch(kinds))
    }
}
