import Foundation
import Telemetry
import Testing

@Suite struct `The metrics registry` {
    private static func filled() -> MetricsRegistry {
        let registry = MetricsRegistry()
        registry.counter("demo_things_total", help: "Things.\nTwo lines, and a \\.").increment(by: 3)
        let pairs = registry.counters(
            "demo_pairs_total", help: "Pairs.",
            labels: [MetricLabel("a", ["x", "y\"\\"]), MetricLabel("b", ["1", "2", "3"])]
        )
        pairs[1, 2].increment()
        registry.gauge("demo_level", help: "Level.").set(-7)
        registry.gauge("demo_asked", help: "Asked.") { 0.25 }
        registry.counters("demo_few_total", help: "Few.", labels: ["a", "b"]) { [(["x", "\""], 2), (["y", "z"], 3)] }
        registry.gauges("demo_waits", help: "Waits.", labels: ["a"]) { [(["x"], 4)] }
        let times = registry.histogram("demo_seconds", help: "Times.", bounds: [0.1, 1])
        for value in [0.05, 0.1, 0.5, 7] { times.observe(value) }
        registry.registerProcessMetrics(startedAt: 1_763_899_200)
        return registry
    }

    @Test func `the text has the Prometheus format`() {
        let text = Self.filled().exposition()
        #expect(
            text.hasPrefix(
                #"""
                # HELP demo_things_total Things.\nTwo lines, and a \\.
                # TYPE demo_things_total counter
                demo_things_total 3
                # HELP demo_pairs_total Pairs.
                # TYPE demo_pairs_total counter
                demo_pairs_total{a="x",b="1"} 0
                demo_pairs_total{a="x",b="2"} 0
                demo_pairs_total{a="x",b="3"} 0
                demo_pairs_total{a="y\"\\",b="1"} 0
                demo_pairs_total{a="y\"\\",b="2"} 0
                demo_pairs_total{a="y\"\\",b="3"} 1
                # HELP demo_level Level.
                # TYPE demo_level gauge
                demo_level -7
                # HELP demo_asked Asked.
                # TYPE demo_asked gauge
                demo_asked 0.25
                # HELP demo_few_total Few.
                # TYPE demo_few_total counter
                demo_few_total{a="x",b="\""} 2
                demo_few_total{a="y",b="z"} 3
                # HELP demo_waits Waits.
                # TYPE demo_waits gauge
                demo_waits{a="x"} 4
                # HELP demo_seconds Times.
                # TYPE demo_seconds histogram
                demo_seconds_bucket{le="0.1"} 2
                demo_seconds_bucket{le="1"} 3
                demo_seconds_bucket{le="+Inf"} 4
                demo_seconds_sum 7.65
                demo_seconds_count 4

                """#
            ),
            "\(text)"
        )
        #expect(text.contains("\nprocess_start_time_seconds 1763899200\n"))
    }

    @Test func `the process metrics have plausible values`() throws {
        let text = Self.filled().exposition()
        func value(_ name: String) throws -> Double {
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(name + " ") })
            return try #require(Double(line.dropFirst(name.count + 1)))
        }
        #expect(try value("process_cpu_seconds_total") > 0)
        #expect(try value("process_resident_memory_bytes") > 1_000_000)
        #expect(try value("process_open_fds") >= 3)
        #expect(ProcessUsage.now.residentBytesPeak >= 1_000_000)
    }

    private static let promtool = ["/usr/bin/promtool", "/usr/local/bin/promtool"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    @Test(.enabled(if: promtool != nil, "promtool is not installed (Debian package prometheus)"))
    func `promtool reports no problem`() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(Self.promtool))
        process.arguments = ["check", "metrics"]
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        input.fileHandleForWriting.write(Data(Self.filled().exposition().utf8))
        try input.fileHandleForWriting.close()
        let report = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(report)")
    }

    @Test func `updates from many threads are all counted`() async {
        let registry = MetricsRegistry()
        let counter = registry.counter("demo_total", help: "Demo.")
        let histogram = registry.histogram("demo_seconds", help: "Demo.", bounds: [1])
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<10_000 {
                        counter.increment()
                        histogram.observe(0.5)
                    }
                }
            }
        }
        #expect(counter.count == 80_000)
        #expect(histogram.count == 80_000)
        #expect(histogram.sum == 40_000)
    }
}
