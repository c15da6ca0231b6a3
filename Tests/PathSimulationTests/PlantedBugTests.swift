import PathSimulation
import Testing

/// A check that finds nothing may be a check that cannot find anything: so each of these mistakes must be found.
@Suite struct `Planted bugs` {
    @Test(arguments: PlantedBug.allCases)
    func `the simulation finds`(_ bug: PlantedBug) throws {
        let found = Self.firstFound(bug)
        let violation = try #require(found?.violation, "\(bug.rawValue) is not found in a thousand seeds")
        #expect(bug.caughtBy.contains(violation.invariant), "\(bug.rawValue): \(violation)\n  \(found!.replayCommand)")
    }

    private static func firstFound(_ bug: PlantedBug) -> SimulationReport? {
        (UInt64(1)...1000).lazy.map { PathSimulation.run(seed: $0, bug: bug) }.first { $0.violation != nil }
    }
}

extension PlantedBug {
    /// The invariants that are broken by it.
    fileprivate var caughtBy: Set<Invariant> {
        switch self {
        case .fencingOff, .staleOutcomeOverwrites: [.fencing]
        case .ackBeforeCommit, .settleBeforeCommit, .requestTorn: [.durable]
        case .resendBelowGoAway, .dropResent, .sentUnannounced: [.boundedDuplicates]
        case .wallClockLease, .expiryIgnored, .notBeforeIgnored, .cancelForgotten, .pauseIgnored, .retryAfterIgnored:
            [.noLateSend]
        case .renewalForgotten: [.noLateSend, .oneOwner]
        case .claimedByTwo, .epochReused: [.oneOwner]
        case .outcomeForgotten: [.oneOwner, .progress]
        case .freeRetriesCounted: [.freeRetries]
        case .reservationLost: [.boundedMemory]
        case .verdictChanges: [.oneEnd]
        case .unknownAnsweredRefused: [.admission]
        case .drainForgetsUnsent: [.progress]
        case .poisonTakesNeighbours, .mixedQuarantineTrial: [.poisonAlone]
        }
    }
}
