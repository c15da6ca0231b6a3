import ArgumentParser
import Foundation
import GodwitCLI
import PathSimulation

/// Runs one seed of the path simulation, or many.
struct SimulatePathCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate-path",
        abstract: "Simulate the whole path in virtual time, with faults, and check its invariants.",
        discussion: """
            Accept, queue, dispatch, APNs and outcome run in one thread with one random generator, so a seed always \
            produces the same run. Without --seed, the command runs --seeds seeds, starting with --first.

            Exit status: 0 if every invariant held, 1 if one did not.
            """
    )

    @Option(help: "Run only this seed.")
    var seed: UInt64?

    @Option(help: "Number of seeds to run.")
    var seeds: UInt64 = 1000

    @Option(help: "First seed.")
    var first: UInt64 = 1

    @Option(help: "Approximate number of pushes in a run.")
    var steps = 200

    @Option(
        help: """
            Plant a bug; the default 1,000 seeds find it, a few seeds may not. One of: \
            \(PlantedBug.allCases.map(\.rawValue).joined(separator: ", ")).
            """
    )
    var bug: String?

    @Flag(help: "Print every event.")
    var trace = false

    func validate() throws {
        if let bug, PlantedBug(rawValue: bug) == nil {
            throw ValidationError("'\(bug)' is not the name of a bug; see --help")
        }
        guard (1...100_000).contains(steps) else { throw ValidationError("--steps must be 1 to 100000") }
        guard seeds >= 1 else { throw ValidationError("--seeds must be at least 1") }
    }

    func run() throws {
        let bug = bug.flatMap(PlantedBug.init)
        if let seed {
            let report = PathSimulation.run(seed: seed, steps: steps, bug: bug, keepsTrace: trace)
            for line in report.trace { Terminal.writeOutput(line) }
            Terminal.writeOutput(Self.text(report))
            if report.violation != nil { throw ExitCode(1) }
            return
        }
        try runMany(bug)
    }

    private func runMany(_ bug: PlantedBug?) throws {
        var simulations = SimulationCampaign()
        for seed in first..<first + seeds {
            let report = PathSimulation.run(seed: seed, steps: steps, bug: bug, keepsTrace: false)
            simulations.add(report)
            if let violation = report.violation, bug == nil {
                Terminal.writeOutput("seed \(seed): \(violation)\n  \(report.replayCommand)")
            }
            if simulations.runs % 1000 == 0 { Terminal.writeError(simulations.summary) }
        }
        Terminal.writeOutput(simulations.summary)
        if !simulations.failures.isEmpty { throw ExitCode(1) }
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
