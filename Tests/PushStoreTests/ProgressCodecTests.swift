import APNSWire
import Foundation
import PushModel
import PushStore
import SwiftProtobuf
import Testing

@Suite struct `Encoded updates` {
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
                        tokenDeadAt: Bool.random(using: &generator) ? 1_700_000_000_000 : 0
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
            #expect(try ProgressCodec.decode(ProgressCodec.encode(update), pushes: max(count, 1)) == update)
        }
    }

    @Test func `of 500 deliveries need about two bytes each`() {
        let update = BatchUpdate(at: Samples.now, outcomes: (0..<500).map { Samples.outcome($0) })
        #expect(ProgressCodec.encode(update).count < 950)
    }

    @Test func `keep a thousand different reasons`() throws {
        let outcomes = (0..<1000).map { index in
            Outcome(
                index: UInt16(index), verdict: .rejected, code: .unknownAnswer, status: 418, attempts: 1,
                reason: .verbatim("Reason \(index)")
            )
        }
        let update = BatchUpdate(at: Samples.now, outcomes: outcomes)
        #expect(try ProgressCodec.decode(ProgressCodec.encode(update), pushes: 1000) == update)
    }

    @Test(arguments: 0..<20)
    func `are decoded or refused after any damage, without a crash`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let bytes = ProgressCodec.encode(sample(Int.random(in: 1...20, using: &generator), using: &generator))
        for _ in 0..<500 {
            guard var update = try? ProgressCodec.decode(mutated(bytes, using: &generator), pushes: 20) else {
                continue
            }
            // A ledger can record every accepted update.
            var ledger = BatchLedger(count: 20, firstDue: Samples.now)
            ledger.record(&update)
            #expect(ledger.unsettled + update.outcomes.count - update.replays.count == 20)
        }
    }

    @Test(arguments: Contradiction.allCases)
    func `are refused if their columns contradict each other`(_ contradiction: Contradiction) throws {
        let update = BatchUpdate(
            at: Samples.now, outcomes: (0..<3).map { Samples.outcome($0) },
            retries: [Samples.retry(3, due: Samples.now)]
        )
        var stored = try StoredProgress(serializedBytes: ProgressCodec.encode(update))
        contradiction.apply(to: &stored)
        let bytes: Data = try stored.serializedBytes()
        #expect(throws: CodecError.self) { try ProgressCodec.decode(bytes, pushes: 4) }
    }

    enum Contradiction: CaseIterable {
        case noStates, states, unknownState, unspecifiedState, codes, unknownCode, hugeCode, hugeStatus, hugeAttempts
        case indexOutside, reasonIndexTooHigh, dues, tokenDeadAt

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
            }
        }
    }
}
