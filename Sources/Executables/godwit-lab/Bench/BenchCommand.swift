import ArgumentParser
import Foundation
import GodwitCLI

/// Runs benchmarks and prints their results as a table.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Benchmark the APNs client and the gateway on this machine.",
        discussion: """
            Without --only, the first five benchmarks run. All servers and clients are separate processes on loopback. \
            Ratios and CPU time per push are comparable between machines and runs; rates are not.
            """
    )

    @Option(help: "Run only this benchmark: \(Benchmarks.names.joined(separator: ", ")).")
    var only: String?

    @Option(name: .customLong("out"), help: "File for the results as JSON.")
    var output = ".bench/results.json"

    @Option(help: "Factor for the number of pushes.")
    var scale = 1.0

    func validate() throws {
        if let only, !Benchmarks.names.contains(only) {
            throw ValidationError(
                "'\(only)' is not a benchmark; available: \(Benchmarks.names.joined(separator: ", "))")
        }
        guard scale > 0, scale <= 100 else { throw ValidationError("--scale must be above 0 and at most 100") }
    }

    mutating func run() async throws {
        #if DEBUG
        Terminal.writeError("debug build: the results are not meaningful")
        #endif
        let setup = try BenchSetup()
        defer { setup.remove() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await Termination.wait()
                guard !Task.isCancelled else { return }
                setup.remove()
                // The servers and load generators end with this process.
                Foundation.exit(1)
            }
            group.addTask { [self] in try await run(in: setup) }
            try await group.next()
            group.cancelAll()
        }
    }

    private func run(in setup: BenchSetup) async throws {
        let benchmarks = Benchmarks(setup: setup, scale: scale) { Terminal.writeError($0) }
        var results: [BenchResult] = []
        for name in only.map({ [$0] }) ?? Benchmarks.standard {
            results += try await benchmarks.run(name)
            try write(results)
        }
        Terminal.writeOutput(BenchResult.header)
        for result in results { Terminal.writeOutput(result.row) }
        Terminal.writeError("written to \(output)")
    }

    private func write(_ results: [BenchResult]) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let folder = (output as NSString).deletingLastPathComponent
        do {
            if !folder.isEmpty {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            }
            try encoder.encode(results).write(to: URL(fileURLWithPath: output))
        } catch {
            throw CommandError("\(output): the results cannot be written: \(PlainReason.of(error))")
        }
    }
}
