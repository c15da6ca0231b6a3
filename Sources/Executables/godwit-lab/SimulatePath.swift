import ArgumentParser
import Foundation
import GodwitCLI
import PathSimulation

/// Replays a seed of the path simulation, or runs many.
struct SimulatePath: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the whole path in virtual time, from a seed, with faults, and check its invariants.",
        discussion: """
            Accept, queue, dispatch, APNs and outcome run in one thread with one source of chance: the same seed does the \
            same every time. Without --seed, the seeds from --first on are tried.

            Exit status: 0 when every invariant held, 1 when one did not.
            """
    )

    @Option(help: "Run this seed alone.")
    var seed: UInt64?

    @Option(help: "How many seeds to try.")
    var seeds: UInt64 = 1000

    @Option(help: "The first of them.")
    var first: UInt64 = 1

    @Option(help: "Roughly how many pushes a run has.")
    var steps = 200

    @Option(help: "Make a mistake on purpose: \(PlantedBug.allCases.map(\.rawValue).joined(separator: ", ")).")
    var bug: String?

    @Flag(help: "Print everything that happened.")
    var trace = false

    func validate() throws {
        if let bug, PlantedBug(rawValue: bug) == nil { throw ValidationError("there is no bug named \(bug)") }
        guard (1...100_000).contains(steps) else { throw ValidationError("--steps must be 1 to 100000") }
        guard seeds >= 1 else { throw ValidationError("--seeds must be at least 1") }
    }

    func run() throws {
        let bug = bug.flatMap(PlantedBug.init)
        if let seed {
            let report = PathSimulation.run(seed: seed, steps: steps, bug: bug, keepsTrace: trace)
            for line in report.trace { Terminal.say(line) }
            Terminal.say(Self.text(report))
            if report.violation != nil { throw ExitCode(1) }
            return
        }
        try runMany(bug)
    }

    private func runMany(_ bug: PlantedBug?) throws {
        var campaign = SimulationCampaign()
        for seed in first..<first + seeds {
            let report = PathSimulation.run(seed: seed, steps: steps, bug: bug, keepsTrace: false)
            campaign.add(report)
            if let violation = report.violation, bug == nil {
                Terminal.say("seed \(seed): \(violation)\n  \(report.replayCommand)")
            }
            if campaign.runs % 1000 == 0 { Terminal.note(campaign.summary) }
        }
        Terminal.say(campaign.summary)
        if !campaign.failures.isEmpty { throw ExitCode(1) }
    }

    private static func text(_ report: SimulationReport) -> String {
        let faults = report.faults.map(\.rawValue).sorted().joined(separator: ", ")
        return """
            seed \(report.seed): \(report.gateways) gateways, faults: \(faults.isEmpty ? "none" : faults)
            \(report.pushes) pushes, \(report.deliveries) deliveries, \(report.duplicates) duplicates, \
            \(report.ambiguities) ambiguous events, \(report.events) events in \(report.virtualSeconds) virtual seconds
            trace hash \(String(report.hash, radix: 16))
            \(report.violation.map { "VIOLATED \($0)" } ?? "every invariant held")
            """
    }
}
