import APNSWire
import AsyncHTTPClient
import Foundation
import GodwitCLI
import JSONText
import NIOCore
import NIOHTTP1

// Benchmarks of the whole path under overload and while APNs is unavailable.
extension Benchmarks {
    private static let quietApp = "com.example.quiet"
    private static let floodApp = "com.example.flood"

    // MARK: Fairness

    /// Single pushes of a quiet app, alone and during a flood of another app, and urgent pushes of the flooding app.
    func fairness() async throws -> [BenchResult] {
        let simulator = try await setup.startSimulator()
        let gateway = try await setup.startGateway(
            simulator: simulator, name: "fairness", apps: [Self.quietApp, Self.floodApp]
        )
        progress("fairness: a quiet app alone")
        let alone = try await SinglePushLoad(gateway, app: Self.quietApp, lane: nil).send(for: .seconds(8))
        let flood = scaled(200_000)
        progress("fairness: \(flood) pushes of another app concurrently")
        let during = try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                _ = try await bulk(gateway, pushes: flood, extra: ",\"app\":\"\(Self.floodApp)\",\"lane\":\"bulk\"")
            }
            async let quiet = SinglePushLoad(gateway, app: Self.quietApp, lane: nil).send(for: .seconds(12))
            async let urgent = SinglePushLoad(gateway, app: Self.floodApp, lane: "urgent").send(for: .seconds(12))
            let measured = try await (quiet: quiet, urgent: urgent)
            try await group.waitForAll()
            return measured
        }
        let results = [
            Self.row("fairness-alone", alone, gateway, remark: "single pushes of a quiet app, alone"),
            Self.row(
                "fairness-flooded", during.quiet, gateway,
                remark: String(
                    format: "the same during %d pushes of another app: p99 %+.0f ms", flood,
                    during.quiet.percentile(0.99) - alone.percentile(0.99))
            ),
            Self.row("fairness-urgent", during.urgent, gateway, remark: "urgent pushes of the flooding app"),
        ]
        await gateway.process.stop()
        await simulator.process.stop()
        return results
    }

    private static func row(
        _ name: String, _ singles: SinglePushLoad.Measurement, _ gateway: BenchSetup.GatewayServer, remark: String
    ) -> BenchResult {
        BenchResult(
            name: name, pushes: singles.milliseconds.count, pushesPerSecond: singles.rate, cpuMicrosecondsPerPush: 0,
            p50: singles.percentile(0.5), p99: singles.percentile(0.99), p999: singles.percentile(0.999),
            peakResidentMiB: gateway.process.peakResidentMiB, ratioToReference: nil, remark: remark
        )
    }

    // MARK: Overload

    /// Goodput of single pushes over five times the connections that saturate the gateway, relative to that saturation.
    func overload() async throws -> BenchResult {
        let simulator = try await setup.startSimulator()
        let gateway = try await setup.startGateway(simulator: simulator, name: "overload")
        let push = BenchPayload.ndjson(pushes: 1, payload: BenchPayload.json(bytes: 95)).dropLast()
        let body = try setup.write(Array(push), to: "push.json")
        func load(_ connections: Int, _ requests: Int, logs: Bool = false) async throws -> H2Load.Measurement {
            try await H2Load(
                url: gateway.url + "/push", requests: requests, connections: connections, isHTTP1: true, bodyFile: body,
                headers: ["content-type: application/json"], allowsRefusals: true, logsRequests: logs
            ).run(folder: setup.folder)
        }
        let requests = scaled(100_000)
        _ = try await load(256, 5_000)
        var rounds: [(knee: H2Load.Measurement, over: H2Load.Measurement, after: H2Load.Measurement)] = []
        for round in 1...3 {
            progress("overload: round \(round) of 3")
            rounds.append(
                (try await load(256, requests), try await load(1280, requests), try await load(128, requests)))
        }
        rounds.sort { $0.over.rate / $0.knee.rate < $1.over.rate / $1.knee.rate }
        let median = rounds[1]
        let latencies = try await load(1280, requests, logs: true)
        let result = BenchResult(
            name: "overload", pushes: requests, pushesPerSecond: median.over.rate, cpuMicrosecondsPerPush: 0,
            p50: latencies.percentile(0.5), p99: latencies.percentile(0.99), p999: latencies.percentile(0.999),
            peakResidentMiB: gateway.process.peakResidentMiB, ratioToReference: median.over.rate / median.knee.rate,
            remark: String(
                format: "goodput over 1,280 connections against 256 (%.0f/s); %d refused; afterwards over 128: %.0f/s",
                median.knee.rate, median.over.refused, median.after.rate)
        )
        await gateway.process.stop()
        await simulator.process.stop()
        return result
    }

    // MARK: Backlog

    /// A backlog builds up while APNs is unreachable, and is sent when it is back. Runs with a tenth of the pushes
    /// first, then with all, to show whether a push in a long queue costs more.
    func backlog() async throws -> BenchResult {
        let pushes = scaled(1_000_000)
        let short = try await backlog(of: max(2_000, pushes / 10), name: "backlog-short")
        let long = try await backlog(of: pushes, name: "backlog")
        return BenchResult(
            name: "backlog", pushes: long.pushes, pushesPerSecond: Double(long.pushes) / long.seconds,
            cpuMicrosecondsPerPush: long.cpuMicrosecondsPerPush, p50: 0, p99: 0, p999: 0,
            peakResidentMiB: long.peakResidentMiB,
            ratioToReference: long.cpuMicrosecondsPerPush / short.cpuMicrosecondsPerPush,
            remark: String(
                format: "CPU per push against a queue of %d (%.2f us); %.0f MiB resident with all of them queued",
                short.pushes, short.cpuMicrosecondsPerPush, long.queuedResidentMiB)
        )
    }

    private struct Backlog {
        var pushes: Int
        /// From the first outcome to the last.
        var seconds: Double
        var cpuMicrosecondsPerPush: Double
        var queuedResidentMiB: Double
        var peakResidentMiB: Double
    }

    private func backlog(of pushes: Int, name: String) async throws -> Backlog {
        let simulator = try await setup.startSimulator()
        let gateway = try await setup.startGateway(simulator: simulator, name: name)
        try await simulator.control(
            "PUT", "/faults", body: #"{"rules": [{"on": "connection", "action": "tcp-reset"}]}"#)
        let measured = try await bulk(gateway, pushes: pushes, extra: "")
        let total = Double(measured.pushes + Self.warmUpPushes)
        let residentQueued = gateway.process.residentMiB
        guard try await gateway.metric("godwit_outcomes_total") == 0 else {
            throw BenchError("pushes were settled while APNs was unreachable")
        }
        let cpuBefore = gateway.process.cpuSeconds
        try await simulator.control("DELETE", "/faults", body: nil)
        progress("\(name): APNs is back")
        var first: ContinuousClock.Instant?
        while true {
            let settled = try await gateway.metric("godwit_outcomes_total")
            if first == nil, settled > 0 { first = .now }
            if settled >= total { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        let seconds = (ContinuousClock.now - (first ?? .now)) / .seconds(1)
        let delivered = try await gateway.metric("godwit_outcomes_total", "verdict=\"delivered\"")
        guard delivered == total else {
            throw BenchError("only \(Int(delivered)) of \(Int(total)) pushes were delivered")
        }
        let result = Backlog(
            pushes: Int(total), seconds: seconds,
            cpuMicrosecondsPerPush: (gateway.process.cpuSeconds - cpuBefore) / total * 1_000_000,
            queuedResidentMiB: residentQueued, peakResidentMiB: gateway.process.peakResidentMiB
        )
        await gateway.process.stop()
        await simulator.process.stop()
        return result
    }
}

/// Sends single pushes, one every 20 ms, and measures the time from the request to the answer of APNs.
struct SinglePushLoad {
    struct Measurement {
        /// Sorted.
        var milliseconds: [Double]
        var rate: Double

        func percentile(_ q: Double) -> Double {
            milliseconds.isEmpty ? 0 : milliseconds[min(milliseconds.count - 1, Int(q * Double(milliseconds.count)))]
        }
    }

    private static let interval: Duration = .milliseconds(20)
    private let url: String
    private let body: String

    init(_ gateway: BenchSetup.GatewayServer, app: String, lane: String?) {
        url = gateway.url
        let lane = lane.map { ",\"lane\":\"\($0)\"" } ?? ""
        body = """
            {"device_token":"\(BenchPayload.hexToken(7))","app":"\(app)"\(lane),"payload":{"aps":{"alert":"hello"}}}
            """
    }

    func send(for duration: Duration) async throws -> Measurement {
        let clock = ContinuousClock()
        let start = clock.now
        var sent: [(id: String, requestMilliseconds: Double)] = []
        while clock.now - start < duration {
            let due = start + Self.interval * Double(sent.count)
            try await clock.sleep(until: due)
            var request = HTTPClientRequest(url: url + "/push")
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body))
            let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
            let text = String(buffer: try await response.body.collect(upTo: 1 << 16))
            guard response.status == .ok, let id = text.firstMatch(of: /"msg_id":"([^"]+)"/)?.1 else {
                throw BenchError("a single push was refused: \(text)")
            }
            // Measured from the due time, so that a slow response also counts for the pushes delayed by it.
            sent.append((String(id), (clock.now - due) / .milliseconds(1)))
        }
        let seconds = (clock.now - start) / .seconds(1)
        var milliseconds: [Double] = []
        for push in sent { milliseconds.append(push.requestMilliseconds + (try await pathMilliseconds(push.id))) }
        milliseconds.sort()
        return Measurement(milliseconds: milliseconds, rate: Double(sent.count) / seconds)
    }

    /// Time from acceptance to delivery, by the timestamps of the gateway.
    private func pathMilliseconds(_ id: String) async throws -> Double {
        for _ in 0..<3000 {
            let response = try await HTTPClient.shared.execute(
                HTTPClientRequest(url: "\(url)/api/v1/messages/\(id)"), timeout: .seconds(30)
            )
            let text = String(buffer: try await response.body.collect(upTo: 1 << 16))
            if text.contains("\"state\":\"delivered\""), let from = Self.time("accepted_at", text),
                let to = Self.time("updated_at", text)
            {
                return (to - from) * 1000
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw BenchError("a single push was not delivered within a minute")
    }

    private static func time(_ name: String, _ text: String) -> Double? {
        guard let range = text.range(of: "\"\(name)\":\"") else { return nil }
        let value = String(text[range.upperBound...].prefix { $0 != "\"" })
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        return formatter.date(from: value)?.timeIntervalSince1970
    }
}
