import ArgumentParser
import Foundation
import GodwitCLI

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure this machine: the APNs client, bulk accept, the whole path, the single-push route.",
        discussion: """
            Without --only the first five run. Every part runs as a process of its own on loopback. Read the ratios and the CPU time per \
            push: they hold from machine to machine and from day to day; the rates do not.
            """
    )

    @Option(help: "Run only this one: \(Benchmarks.names.joined(separator: ", ")).")
    var only: String?

    @Option(name: .customLong("out"), help: "Where the results go as JSON.")
    var output = ".bench/results.json"

    @Option(help: "Multiplies the number of pushes.")
    var scale = 1.0

    func validate() throws {
        if let only, !Benchmarks.names.contains(only) {
            throw ValidationError(
                "There is no benchmark \(only); there are \(Benchmarks.names.joined(separator: ", ")).")
        }
        guard scale > 0, scale <= 100 else { throw ValidationError("--scale must be above 0 and at most 100.") }
    }

    mutating func run() async throws {
        #if DEBUG
        Terminal.note("This is a debug build: its figures mean nothing.")
        #endif
        let setup = try BenchSetup()
        defer { setup.remove() }
        let benchmarks = Benchmarks(setup: setup, scale: scale) { Terminal.note($0) }
        var results: [BenchResult] = []
        for name in only.map({ [$0] }) ?? Benchmarks.standard {
            results += try await benchmarks.run(name)
            try write(results)
        }
        Terminal.say(BenchResult.header)
        for result in results { Terminal.say(result.row) }
        Terminal.note("written to \(output)")
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
            throw CommandError("The results cannot be written to \(output): \(PlainReason.of(error))")
        }
    }
}
