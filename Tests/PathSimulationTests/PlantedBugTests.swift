import PathSimulation
import Testing

/// Shows that the checks of the simulation detect bugs.
@Suite struct `Planted bugs` {
    @Test(arguments: PlantedBug.allCases)
    func `the simulation detects`(_ bug: PlantedBug) throws {
        let report = Self.firstViolation(bug)
        let violation = try #require(report?.violation, "\(bug.rawValue) is not detected in 1,000 seeds")
        #expect(
            bug.expectedViolations.contains(violation.invariant),
            "\(bug.rawValue): \(violation)\n  \(report!.replayCommand)")
    }

    private static func firstViolation(_ bug: PlantedBug) -> SimulationReport? {
        (UInt64(1)...1000).lazy.map { PathSimulation.run(seed: $0, bug: bug) }.first { $0.violation != nil }
    }
}

extension PlantedBug {
    /// The invariants that the bug violates.
    fileprivate var expectedViolations: Set<Invariant> {
        switch self {
        case .fencingOff, .staleOutcomeOverwrites: [.fencing]
        case .ackBeforeCommit, .settleBeforeCommit, .requestWrittenPartly: [.durable]
        case .resendBelowGoAway, .dropResent, .sentUnannounced: [.boundedDuplicates]
        case .wallClockLease, .expiryIgnored, .notBeforeIgnored, .cancelIgnored, .pauseIgnored, .retryAfterIgnored:
            [.noLateSend]
        case .renewalSkipped: [.noLateSend, .oneOwner]
        case .claimedByTwo, .epochReused: [.oneOwner]
        case .outcomeDropped: [.oneOwner, .progress]
        case .refusalBlamesPush, .outageCostsAttempts, .expiredEarly: [.noSilentDrop]
        case .expiredLate: [.expiry]
        case .goodProbesLost: [.progress]
        case .unprocessedCounted: [.unprocessedNotCounted]
        case .reservationLost: [.boundedMemory]
        case .verdictChanges: [.oneVerdict]
        case .unknownReportedRefused: [.admission]
        case .drainDropsUnsent: [.progress]
        case .settlementCountedTwice: [.conservation, .durable, .progress]
        case .claimLeaked: [.progress]
        case .takeoverAfterOutage: [.oneOwner, .boundedDuplicates]
        case .poisonGivesUpBatch, .mixedQuarantineTrial, .unbegunCounted: [.poisonIsolated]
        }
    }
}
