import Foundation

/// Runs h2load, the load generator of nghttp2.
///
/// A log line per request costs h2load a third of its rate, which flatters every ratio to it. A run that measures a rate
/// therefore writes no log, and latencies come from a run of their own.
struct H2Load {
    var url: String
    var requests: Int
    var connections = 1
    var streams = 1
    var isHTTP1 = false
    /// File with the body of each request.
    var bodyFile: String?
    /// File with one URL per line, used in turn.
    var urlFile: String?
    var headers: [String] = []
    /// Whether responses other than 2xx are allowed.
    var allowsRefusals = false
    /// Whether to write a line per request, for latencies.
    var logsRequests = false

    struct Measurement: Equatable {
        /// Requests with a 2xx response.
        var requests: Int
        /// Requests with another response.
        var refused = 0
        var seconds: Double
        /// Latencies in milliseconds, sorted; empty unless requests were logged.
        var latencies: [Double] = []

        func percentile(_ q: Double) -> Double {
            latencies.isEmpty ? 0 : latencies[min(latencies.count - 1, Int(q * Double(latencies.count)))]
        }

        var rate: Double { Double(requests) / seconds }
    }

    /// - Throws: `BenchError` if a request failed or, unless `allowsRefusals`, had a response other than 2xx.
    func run(folder: String) async throws -> Measurement {
        let log = "\(folder)/h2load.log"
        try? FileManager.default.removeItem(atPath: log)
        var arguments = ["-n", "\(requests)", "-c", "\(connections)", "-t", "1"]
        if logsRequests { arguments += ["--log-file", log] }
        if isHTTP1 { arguments.append("--h1") } else { arguments += ["-m", "\(streams)"] }
        if let bodyFile { arguments += ["-d", bodyFile] }
        for header in headers { arguments += ["-H", header] }
        if let urlFile { arguments += ["-i", urlFile] } else { arguments.append(url) }
        let process = try BenchProcess(try BenchProcess.find("h2load"), arguments)
        let status = try await process.waitForExit()
        let isSuccess =
            process.text.contains("\(requests) succeeded") && process.text.contains("status codes: \(requests) 2xx")
        guard status == 0, isSuccess || allowsRefusals else {
            throw BenchError("h2load received responses other than 2xx:\n\(process.text.suffix(1500))")
        }
        guard logsRequests else { return try Self.read(summary: process.text) }
        return try Self.read(log: log)
    }

    /// Reads the rate and the counts from what h2load prints at its end.
    static func read(summary text: String) throws -> Measurement {
        guard let rate = text.firstMatch(of: /finished in [0-9.]+[a-z]+, ([0-9.]+) req\/s/).flatMap({ Double($0.1) }),
            let statuses = text.firstMatch(of: /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/),
            let succeeded = Int(statuses.1), rate > 0
        else { throw BenchError("h2load printed no summary:\n\(text.suffix(1500))") }
        let refused = [statuses.2, statuses.3, statuses.4].compactMap { Int($0) }.reduce(0, +)
        // The rate has more digits than the duration.
        return Measurement(requests: succeeded, refused: refused, seconds: Double(succeeded + refused) / rate)
    }

    /// Each line of the log has the start in microseconds since 1970, the status, and the duration in microseconds.
    static func read(log: String) throws -> Measurement {
        var first = Double.infinity
        var last = 0.0
        var latencies: [Double] = []
        var refused = 0
        for line in try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n") {
            let fields = line.split(separator: "\t").compactMap { Double($0) }
            guard fields.count >= 3 else { continue }
            first = min(first, fields[0])
            last = max(last, fields[0] + fields[2])
            guard (200...299).contains(fields[1]) else {
                refused += 1
                continue
            }
            latencies.append(fields[2] / 1000)
        }
        guard !latencies.isEmpty else { throw BenchError("h2load wrote no log") }
        latencies.sort()
        return Measurement(
            requests: latencies.count, refused: refused, seconds: (last - first) / 1_000_000, latencies: latencies
        )
    }
}
