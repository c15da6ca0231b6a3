import ArgumentParser
import Foundation
import GodwitCLI
import Synchronization

/// Runs a gateway under load, kills and faults, and checks that it keeps its promises.
struct TortureCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "torture",
        abstract: "Kill a gateway repeatedly under load, and check that it loses nothing.",
        discussion: """
            Starts an APNs simulator and a gateway and applies load. Ends the gateway with kill -9 and SIGTERM at \
            random times and restarts it, while the simulator injects faults. Then clears all faults, waits until \
            every push is settled, and compares the logs of the clients, of APNs and of the gateway.

            Exit status: 0 if every promise was kept, 1 if one was broken.
            """
    )

    @Option(help: "Seconds of load.")
    var duration = 40

    @Option(help: "Maximum number of pushes to send.")
    var pushes = 1_000_000

    @Option(help: "Pushes per second.")
    var rate = 1500

    @Option(help: "Number of kill -9.")
    var kills = 10

    @Option(help: "Number of SIGTERM.")
    var stops = 2

    @Option(help: "Seed of all random choices. Default: random, and printed.")
    var seed: UInt64?

    @Option(help: "Empty folder for logs and store. Default: a new temporary folder, which is kept.")
    var directory: String?

    @Flag(help: "Delete the store at the last kill -9: the run must fail, which shows that losses are detected.")
    var control = false

    @Option(help: "Run nothing; check the logs of an earlier run in this folder.")
    var check: String?

    func validate() throws {
        guard (1...86_400).contains(duration) else { throw ValidationError("--duration must be 1 to 86400 seconds") }
        guard pushes > 0 else { throw ValidationError("--pushes must be at least 1") }
        guard (1...100_000).contains(rate) else {
            throw ValidationError("--rate must be 1 to 100000 pushes per second")
        }
        guard !control || kills > 0 else { throw ValidationError("--control requires --kills to be at least 1") }
        guard kills >= 0, stops >= 0, kills + stops <= duration else {
            throw ValidationError("--kills and --stops must add up to at most one per second of --duration")
        }
    }

    mutating func run() async throws {
        let folder = try check.map { try TortureFolder(existing: $0) } ?? TortureFolder(directory)
        if check == nil {
            let seed = seed ?? UInt64.random(in: 1...999_999)
            Terminal.writeError("torture: seed \(seed), logs in \(folder.path)")
            let bar = Mutex(ProgressBar())
            let options = TortureRun.Options(
                duration: .seconds(duration), pushes: pushes, kills: kills, stops: stops, seed: seed, rate: rate,
                isControl: control)
            let run = try await TortureRun(options, folder: folder) { progress in
                bar.withLock { $0.show(progress) }
            }
            try await run.run()
            bar.withLock { $0.clear() }
        }
        let checks = TortureChecks(try folder.logs())
        Terminal.writeOutput(TortureReport(checks, folder: folder.path).text)
        if !checks.passed { throw ExitCode.failure }
    }
}
