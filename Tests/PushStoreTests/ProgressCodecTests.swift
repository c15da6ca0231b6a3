import APNSWire
import Foundation
import PushModel
import PushStore
import SwiftProtobuf
import Testing

@Suite struct `Encoded updates` {
    private let batch = BatchID.random(at: Samples.now)

    private func sample(_ count: Int, using generator: inout some RandomNumberGenerator) -> BatchUpdate {
        var update = BatchUpdate(at: Samples.now)
        let reasons: [ReasonText] = [.known(.none), .known(.unregistered), .known(.badDeviceToken), .verbatim("New")]
        for index in 0..<count {
            let reason = reasons.randomElement(using: &generator)!
            let code = ErrorCode.allCases.randomElement(using: &generator)!
            let attempts = UInt16.random(in: 0...50, using: &generator)
            if index.isMultiple(of: 5) {
                update.replays.append(UInt16(index))
            } else if index.isMultiple(of: 7) {
                update.sends.append(UInt16(index))
            } else if Bool.random(using: &generator) {
                update.outcomes.append(
                    Outcome(
                        index: UInt16(index), verdict: Verdict.allCases.randomElement(using: &generator)!, code: code,
                        status: 410, attempts: attempts, reason: reason,
                        tokenDeadAt: Bool.random(using: &generator) ? 1_700_000_000_000 : 0,
                        uniqueID: Int.random(in: 0..<3, using: &generator) == 0 ? "unique-\(index)" : nil
                    )
                )
            } else {
                update.retries.append(
                    Retry(
                        index: UInt16(index), code: code, status: 0, attempts: attempts, reason: reason,
                        due: Samples.now + .milliseconds(Int64(index))
                    )
                )
            }
        }
        return update
    }

    @Test(arguments: [0, 1, 2, 500, 1000])
    func `decode to the same update`(count: Int) throws {
        var generator = SeededGenerator(seed: UInt64(count))
        for _ in 0..<10 {
            let update = sample(count, using: &generator)
            let record = try ProgressCodec.decode(
                ProgressCodec.encode(update, of: batch), of: batch, pushes: max(count, 1)
            )
            #expect(record == ProgressRecord(at: update.at, updates: count == 0 ? [] : [update]))
        }
    }

    @Test func `of 500 deliveries need about two bytes each`() {
        let update = BatchUpdate(at: Samples.now, outcomes: (0..<500).map { Samples.outcome($0) })
        #expect(ProgressCodec.encode(update, of: batch).count < 950)
    }

    @Test func `keep a thousand different reasons`() throws {
        let outcomes = (0..<1000).map { index in
            Outcome(
                index: UInt16(index), verdict: .rejected, code: .unknownAnswer, status: 418, attempts: 1,
                reason: .verbatim("Reason \(index)")
            )
        }
        let update = BatchUpdate(at: Samples.now, outcomes: outcomes)
        let bytes = ProgressCodec.encode(update, of: batch)
        #expect(try ProgressCodec.decode(bytes, of: batch, pushes: 1000).updates == [update])
    }

    @Test(arguments: 0..<20)
    func `are decoded or refused after any damage, without a crash`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let update = sample(Int.random(in: 1...20, using: &generator), using: &generator)
        let bytes = ProgressCodec.encode(update, of: batch)
        for _ in 0..<500 {
            let damaged = mutated(bytes, using: &generator)
            #expect(damaged == bytes || (try? ProgressCodec.decode(damaged, of: batch, pushes: 20)) == nil)
            // As if a later version had written it.
            let other = resealed(damaged, of: batch)
            guard let record = try? ProgressCodec.decode(other, of: batch, pushes: 20) else { continue }
            // A ledger can record every accepted update.
            var ledger = BatchLedger(count: 20, acceptedAt: Samples.now)
            ledger.apply(record)
            #expect((0...20).contains(ledger.unsettled))
        }
    }

    @Test func `of another batch are damaged`() {
        let bytes = ProgressCodec.encode(BatchUpdate(at: Samples.now, sends: [1]), of: batch)
        let other = BatchID.random(at: Samples.now)
        #expect(throws: CodecError.damaged) { try ProgressCodec.decode(bytes, of: other, pushes: 4) }
    }

    /// The ledger of a batch and the last record of each push are the same with one record as with all of them.
    @Test(arguments: 0..<50)
    func `are replaced by one with the same effect`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var ledger = BatchLedger(count: 6, acceptedAt: Samples.now)
        var records: [ProgressRecord] = []
        for step in 0..<40 {
            // Several updates may happen in the same millisecond, and the clock may move backwards.
            let at = Samples.now + .milliseconds(Int64(step / 3 - (step > 30 ? 20 : 0)))
            var update = BatchUpdate(at: at)
            for index in UInt16(0)..<6 where Bool.random(using: &generator) {
                switch Int.random(in: 0..<8, using: &generator) {
                case 0: update.outcomes.append(Samples.outcome(Int(index), .givenUp))
                case 1, 2: update.replays.append(index)
                case 3, 4: update.sends.append(index)
                default: update.retries.append(Samples.retry(Int(index), attempts: UInt16(step), due: at))
                }
            }
            ledger.record(&update)
            if !update.isEmpty { records.append(ProgressRecord(at: at, updates: [update])) }
            if records.count > 8 { records = [ProgressRecord(replacing: records)] }
        }
        let one = ProgressRecord(replacing: records)
        let decoded = try ProgressCodec.decode(ProgressCodec.encode(one, of: batch), of: batch, pushes: 6)
        #expect(decoded == one)
        #expect(one.updates.reduce(0) { $0 + $1.sends.count + $1.retries.count + $1.outcomes.count } <= 18)
        var folded = BatchLedger(count: 6, acceptedAt: Samples.now)
        folded.apply(decoded)
        #expect(folded.pending(until: .distantFuture) == ledger.pending(until: .distantFuture))
        #expect(folded.lastUpdateAt == ledger.lastUpdateAt)
        let batch = Samples.uniform(6) { "{\"n\":\($0)}" }
        #expect(folded.restartingLifetimes(of: batch) == ledger.restartingLifetimes(of: batch))
    }

    @Test(arguments: Contradiction.allCases)
    func `are refused if their columns contradict each other`(_ contradiction: Contradiction) throws {
        let update = BatchUpdate(
            at: Samples.now, outcomes: (0..<3).map { Samples.outcome($0) },
            retries: [Samples.retry(3, due: Samples.now)]
        )
        var stored = try StoredProgress(serializedBytes: ProgressCodec.encode(update, of: batch))
        contradiction.apply(to: &stored)
        let bytes = resealed(try stored.serializedBytes(), of: batch)
        let error = #expect(throws: CodecError.self) { try ProgressCodec.decode(bytes, of: batch, pushes: 4) }
        #expect(error != .damaged)
    }

    enum Contradiction: CaseIterable {
        case noStates, states, unknownState, unspecifiedState, codes, unknownCode, hugeCode, hugeStatus, hugeAttempts
        case indexOutside, reasonIndexTooHigh, dues, tokenDeadAt, before

        func apply(to stored: inout StoredProgress) {
            switch self {
            case .noStates: stored.states = []
            case .states: stored.states = [.delivered, .retry]
            case .unknownState: stored.states = [.UNRECOGNIZED(77)]
            case .unspecifiedState: stored.states = [.unspecified]
            case .codes: stored.codes = [0, 0]
            case .unknownCode: stored.codes = [9999]
            case .hugeCode: stored.codes = [65_536 + 1001]
            case .hugeStatus: stored.httpStatuses = [65_536 + 200]
            case .hugeAttempts: stored.attempts = [70_000]
            case .indexOutside: stored.indexes[3] = 4
            case .reasonIndexTooHigh: stored.reasonIndexes = [1]
            case .dues: stored.dueMs = [1, 2, 3]
            case .tokenDeadAt: stored.tokenDeadAtMs = [1, 2, 3, 4, 5]
            case .before: stored.beforeMs = [1, 2, 3]
            }
        }
    }
}
