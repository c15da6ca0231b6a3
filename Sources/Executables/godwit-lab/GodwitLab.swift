import ArgumentParser
import GodwitCLI

/// The `godwit-lab` command line: benchmarks and fault tests. It runs the `godwit` executable in its own folder.
struct GodwitLab: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit-lab",
        abstract: "Measure Godwit, and test its promises under faults.",
        version: CommandLineTool.version,
        subcommands: [
            BenchCommand.self, TortureCommand.self, SimulatePathCommand.self, ClientWorker.self, EmptyRoute.self,
        ]
    )
}
