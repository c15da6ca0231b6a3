import Foundation
import PushAccept
import PushModel
import Telemetry

extension Benchmarks {
    /// The cost of parsing and linting one push, against parsing alone in alternation: rounds of one thread, without
    /// HTTP and store. The ratio is that of the CPU times, parsing alone divided by both.
    func parse() -> [BenchResult] {
        let text = String(repeating: "x", count: 130)
        func large(_ number: Int) -> String {
            """
            {"aps":{"alert":{"title":"Your order","body":"\(text) \(number)"},"badge":3,"sound":"default",\
            "thread-id":"o-1"},"order":{"id":\(number),"state":"left"},"url":"https://example.com/o"}
            """
        }
        return [
            measureParse("parse-equal") { _ in #"{"aps":{"alert":"Hello"}}"# },
            measureParse("parse-distinct") { #"{"aps":{"alert":"Hello \#($0)"}}"# },
            measureParse("parse-distinct-250") { large($0) },
            measureParse("parse-warned") { #"{"aps":{"content-available":1},"n":\#($0)}"# },
        ]
    }

    private func measureParse(_ name: String, _ payload: (Int) -> String) -> BenchResult {
        let items = (0..<2000).map { number in
            let token = String(repeating: "ab", count: 28) + String(format: "%08x", number)
            return Array(#"{"device_token":"\#(token)","payload":\#(payload(number))}"#.utf8)
        }
        let rounds = max(1, scaled(200_000) / items.count)
        var best = [Double.infinity, Double.infinity]
        for turn in 0..<10 {
            let lints = turn % 2 == 1
            let started = ProcessUsage.now.cpuSeconds
            for _ in 0..<rounds { Self.parse(items, lints: lints) }
            best[lints ? 1 : 0] = min(best[lints ? 1 : 0], ProcessUsage.now.cpuSeconds - started)
        }
        let pushes = rounds * items.count
        let (plain, linted) = (best[0], best[1])
        return BenchResult(
            name: name, pushes: pushes, pushesPerSecond: Double(pushes) / linted,
            cpuMicrosecondsPerPush: linted / Double(pushes) * 1e6, p50: 0, p99: 0, p999: 0, peakResidentMiB: 0,
            ratioToReference: plain / linted,
            remark: "without the lint \(String(format: "%.3f", plain / Double(pushes) * 1e6)) µs"
        )
    }

    private static func parse(_ items: [[UInt8]], lints: Bool) {
        var parser = PushParser(
            apps: AppDirectory(apps: [ConfiguredApp(id: AppID("bench"), bundleID: "com.example.app")]),
            defaultLane: .bulk, lints: lints
        )
        for item in items {
            let result = item.withUnsafeBytes { parser.parse($0, now: WallTime(milliseconds: 1_763_899_200_123)) }
            guard case .push = result else { preconditionFailure("the pushes of the benchmark are valid") }
        }
    }
}
