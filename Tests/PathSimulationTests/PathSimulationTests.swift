import PathSimulation
import Testing

@Suite struct `Path simulation` {
    static let seeds: ClosedRange<UInt64> = 1...1000

    @Test func `every invariant holds in a thousand seeds`() {
        var campaign = SimulationCampaign()
        for seed in Self.seeds { campaign.add(PathSimulation.run(seed: seed)) }
        for failure in campaign.failures {
            Issue.record("seed \(failure.seed): \(failure.violation)\n  \(failure.replayCommand)")
        }
        // Without failures and duplicates the run would prove nothing.
        #expect(campaign.deliveries > 100_000 && campaign.ambiguities > 1_000 && campaign.duplicates > 100)
    }

    @Test func `equal seeds lead to equal runs`() {
        for seed in UInt64(1)...40 {
            let first = PathSimulation.run(seed: seed)
            let again = PathSimulation.run(seed: seed, keepsTrace: true)
            #expect(first.hash == again.hash && first.events == again.events, "\(first.replayCommand)")
            #expect(!again.trace.isEmpty)
        }
    }

    @Test func `different seeds lead to different runs`() {
        let hashes = Set((UInt64(1)...40).map { PathSimulation.run(seed: $0).hash })
        #expect(hashes.count == 40)
    }

    @Test func `runs without faults have no duplicates`() {
        var runs = 0
        for seed in UInt64(1)...100 {
            let report = PathSimulation.run(seed: seed)
            guard report.faults.isEmpty else { continue }
            runs += 1
            #expect(report.duplicates == 0 && report.ambiguities == 0, "\(report.replayCommand)")
        }
        #expect(runs > 10)
    }
}
