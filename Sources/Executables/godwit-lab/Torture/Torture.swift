import ArgumentParser
import Foundation
import GodwitCLI
import Synchronization

/// Breaks a gateway in every way it can think of, and checks that it keeps its promises.
struct Torture: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Kill a gateway again and again under load, and count what it loses.",
        discussion: """
            Starts a simulator of APNs and a gateway, loads it, ends it by kill -9 and SIGTERM at random moments, lets APNs \
            fail in many ways; then makes peace, waits until every push has ended, and compares what the client was told, \
            what APNs received and what the gateway says.

            Exit status: 0 when every promise was kept, 1 when one was not.
            """
    )

    @Option(help: "How long the load lasts, in seconds.")
    var duration = 40

    @Option(help: "The most pushes to send.")
    var pushes = 1_000_000

    @Option(help: "Pushes a second.")
    var rate = 1500

    @Option(help: "How often the gateway is ended by kill -9.")
    var kills = 10

    @Option(help: "How often it is ended by SIGTERM.")
    var stops = 2

    @Option(help: "What is random depends on it; without it a new one is drawn and printed.")
    var seed: UInt64?

    @Option(help: "An empty folder for logs and store; without it one is made, and its logs are kept.")
    var directory: String?

    @Flag(help: "Delete the store at the last kill -9, to see that the check sees losses: the run must fail.")
    var control = false

    @Option(help: "Run nothing; judge the logs of an earlier run in this folder.")
    var judge: String?

    func validate() throws {
        guard (1...86_400).contains(duration) else { throw ValidationError("--duration is 1 to 86400 seconds") }
        guard pushes > 0 else { throw ValidationError("--pushes is above 0") }
        guard (1...100_000).contains(rate) else { throw ValidationError("--rate is 1 to 100000 pushes a second") }
        guard !control || kills > 0 else { throw ValidationError("--control needs at least one kill") }
        guard kills >= 0, stops >= 0, kills + stops <= duration else {
            throw ValidationError("--kills and --stops are at most one a second together")
        }
    }

    mutating func run() async throws {
        let folder = try judge.map { try TortureFolder(existing: $0) } ?? TortureFolder(directory)
        if judge == nil {
            let seed = seed ?? UInt64.random(in: 1...999_999)
            Terminal.note("torture: seed \(seed), logs in \(folder.path)")
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
        let verdict = TortureChecks(try folder.logs())
        Terminal.say(TortureReport(verdict, folder: folder.path).text)
        if !verdict.isGood { throw ExitCode.failure }
    }
}
