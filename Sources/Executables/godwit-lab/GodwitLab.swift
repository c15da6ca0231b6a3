import ArgumentParser
import GodwitCLI

/// The `godwit-lab` command line: measures a gateway and tries to break it. It runs the `godwit` that lies next to it.
struct GodwitLab: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit-lab",
        abstract: "Measure Godwit, and check its promises by breaking things.",
        version: CommandLineTool.version,
        subcommands: [Bench.self, Torture.self, SimulatePath.self, ClientWorker.self, EmptyRoute.self]
    )
}
