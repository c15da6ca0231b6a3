import Foundation

/// One line of the benchmark table.
struct BenchResult: Codable, Sendable {
    var name: String
    var pushes: Int
    var pushesPerSecond: Double
    /// User and system time of the process under test, divided by pushes.
    var cpuMicrosecondsPerPush: Double
    var p50: Double
    var p99: Double
    var p999: Double
    /// Of the process under test.
    var peakResidentMiB: Double
    /// Our rate divided by that of the reference in the same run; nil without a reference.
    var ratioToReference: Double?
    /// The reference, and other notes for the reader. Not part of the JSON.
    var remark = ""

    enum CodingKeys: String, CodingKey {
        case name, pushes
        case pushesPerSecond = "pushes_per_second"
        case cpuMicrosecondsPerPush = "cpu_us_per_push"
        case p50 = "p50_ms"
        case p99 = "p99_ms"
        case p999 = "p999_ms"
        case peakResidentMiB = "peak_rss_mib"
        case ratioToReference = "ratio_to_yardstick"
    }

    /// Encodes `ratio_to_yardstick` even if it is null.
    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
        try container.encode(name, forKey: .name)
        try container.encode(pushes, forKey: .pushes)
        try container.encode(rounded(pushesPerSecond), forKey: .pushesPerSecond)
        try container.encode(rounded(cpuMicrosecondsPerPush), forKey: .cpuMicrosecondsPerPush)
        try container.encode(rounded(p50), forKey: .p50)
        try container.encode(rounded(p99), forKey: .p99)
        try container.encode(rounded(p999), forKey: .p999)
        try container.encode(rounded(peakResidentMiB), forKey: .peakResidentMiB)
        try container.encode(ratioToReference.map(rounded), forKey: .ratioToReference)
    }

    // MARK: The table

    static let header = row(
        "benchmark", "pushes", "pushes/s", "CPU µs/push", "p50 ms", "p99 ms", "p99.9 ms", "RSS MiB", "ratio", ""
    )

    var row: String {
        Self.row(
            name, "\(pushes)", String(format: "%.0f", pushesPerSecond), String(format: "%.2f", cpuMicrosecondsPerPush),
            String(format: "%.2f", p50), String(format: "%.2f", p99), String(format: "%.2f", p999),
            String(format: "%.0f", peakResidentMiB), ratioToReference.map { String(format: "%.2f", $0) } ?? "–", remark
        )
    }

    private static func row(_ cells: String...) -> String {
        let widths = [20, 9, 10, 12, 9, 9, 9, 8, 6]
        return cells.enumerated().map { index, cell in
            guard index < widths.count else { return "  " + cell }
            let padding = String(repeating: " ", count: max(0, widths[index] - cell.count))
            return index == 0 ? cell + padding : padding + cell
        }.joined()
    }
}

/// Why a benchmark failed, in one line.
struct BenchError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}
