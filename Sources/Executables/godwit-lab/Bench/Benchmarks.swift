import Foundation

/// The benchmarks. Each starts its servers, measures, and stops them. Alternatives are measured in alternation within
/// one run, because the speed of a machine changes over minutes.
struct Benchmarks {
    let setup: BenchSetup
    /// Factor for the number of pushes; below 1 for a quick run.
    let scale: Double
    let progress: @Sendable (String) -> Void

    /// The benchmarks that run by default.
    static let standard = ["client-simulator", "client-nghttpd", "bulk-accept", "whole-path-bulk", "single-route"]
    /// All benchmarks. The additional ones run for minutes.
    static let names = standard + ["parse", "fairness", "overload", "backlog", "far-50ms", "far-150ms", "soak"]

    func run(_ name: String) async throws -> [BenchResult] {
        switch name {
        case "client-simulator": [try await clientAgainstSimulator()]
        case "client-nghttpd": [try await clientAgainstNghttpd()]
        case "bulk-accept": [try await bulkAccept()]
        case "whole-path-bulk": [try await wholePathBulk()]
        case "single-route": try await singleRoute()
        case "parse": parse()
        case "fairness": try await fairness()
        case "overload": [try await overload()]
        case "backlog": [try await backlog()]
        case "far-50ms": [try await farAway(name, roundTripMilliseconds: 50)]
        case "far-150ms": [try await farAway(name, roundTripMilliseconds: 150)]
        case "soak": try await soak()
        default: throw BenchError("'\(name)' is not a benchmark; available: \(Self.names.joined(separator: ", "))")
        }
    }

    func scaled(_ count: Int) -> Int { max(2_000, Int(Double(count) * scale) / 1000 * 1000) }

    // MARK: The APNs client

    /// Number of distinct device tokens in the client benchmarks; each push has its own ID.
    static let tokens = 1000

    private func clientAgainstSimulator() async throws -> BenchResult {
        let simulator = try await setup.startSimulator()
        let authorization = try simulator.authorization()
        return try await client(
            "client-simulator", port: simulator.port, caFile: simulator.caFile, keyFile: simulator.keyFile,
            headers: ["authorization: \(authorization)", "apns-topic: com.example.app", "apns-push-type: alert"],
            server: simulator.process
        )
    }

    private func clientAgainstNghttpd() async throws -> BenchResult {
        let certificate = try await makeCertificate()
        let server = try await setup.startNghttpd(
            certificate: certificate.file, key: certificate.key, tokens: Self.tokens
        )
        return try await client(
            "client-nghttpd", port: server.port, caFile: certificate.file, keyFile: nil,
            headers: ["apns-topic: com.example.app", "apns-push-type: alert"], server: server.process
        )
    }

    func makeCertificate() async throws -> (file: String, key: String) {
        let (file, key) = ("\(setup.folder)/server.pem", "\(setup.folder)/server.key")
        let openssl = try BenchProcess(
            try BenchProcess.find("openssl"),
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key,
                "-out", file,
            ]
        )
        guard try await openssl.waitForExit() == 0 else { throw BenchError("openssl failed: \(openssl.text)") }
        return (file, key)
    }

    /// Measures our client and h2load in alternation, three times each, and reports the median ratio.
    private func client(
        _ name: String, port: Int, caFile: String, keyFile: String?, headers: [String], server: BenchProcess
    ) async throws -> BenchResult {
        let pushes = scaled(300_000)
        let body = try setup.write(BenchPayload.json(bytes: 95), to: "payload.json")
        let urls = (0..<Self.tokens).map { "https://localhost:\(port)/3/device/\(BenchPayload.hexToken($0))\n" }
        let urlFile = try setup.write(Array(urls.joined().utf8), to: "urls.txt")
        var pairs: [(ours: ClientWorker.Report, reference: H2Load.Measurement)] = []
        for round in 1...3 {
            progress("\(name): round \(round) of 3")
            let ours = try await runWorker(
                port: port, caFile: caFile, keyFile: keyFile, pushes: pushes, tokens: Self.tokens, more: []
            )
            let reference = try await H2Load(
                url: "", requests: pushes, connections: 1, streams: 1000, bodyFile: body, urlFile: urlFile,
                headers: headers
            ).run(folder: setup.folder)
            pairs.append((ours, reference))
        }
        await server.stop()
        pairs.sort { Self.ratio($0) < Self.ratio($1) }
        let median = pairs[1]
        return BenchResult(
            name: name, pushes: pushes, pushesPerSecond: Double(pushes) / median.ours.seconds,
            cpuMicrosecondsPerPush: median.ours.cpuSeconds / Double(pushes) * 1_000_000,
            p50: median.ours.p50, p99: median.ours.p99, p999: median.ours.p999,
            peakResidentMiB: median.ours.peakResidentMiB, ratioToReference: Self.ratio(median),
            remark: String(format: "h2load: %.0f/s", median.reference.rate)
        )
    }

    /// Runs the client under test in a separate process.
    func runWorker(
        port: Int, caFile: String, keyFile: String?, pushes: Int, tokens: Int, more: [String]
    ) async throws -> ClientWorker.Report {
        var arguments = [
            "bench-client", "--port", "\(port)", "--ca-file", caFile, "--pushes", "\(pushes)", "--tokens", "\(tokens)",
        ]
        if let keyFile { arguments += ["--key-file", keyFile] }
        let worker = try BenchProcess(BenchProcess.lab, arguments + more)
        guard try await worker.waitForExit() == 0,
            let line = worker.text.split(separator: "\n").last(where: { $0.hasPrefix("{") })
        else { throw BenchError("bench-client failed:\n\(worker.text.suffix(1500))") }
        return try JSONDecoder().decode(ClientWorker.Report.self, from: Data(line.utf8))
    }

    private static func ratio(_ pair: (ours: ClientWorker.Report, reference: H2Load.Measurement)) -> Double {
        Double(pair.ours.pushes) / pair.ours.seconds / pair.reference.rate
    }

    // MARK: The gateway

    /// Pushes that are due tomorrow: they are parsed and stored, but not sent.
    private func bulkAccept() async throws -> BenchResult {
        let simulator = try await setup.startSimulator()
        let gateway = try await setup.startGateway(simulator: simulator, name: "accept")
        let tomorrow = Int(Date().timeIntervalSince1970) + 86_400
        let measured = try await bulk(gateway, pushes: scaled(1_000_000), extra: ",\"not_before\":\(tomorrow)")
        let result = BenchResult(
            name: "bulk-accept", pushes: measured.pushes,
            pushesPerSecond: Double(measured.pushes) / measured.load.seconds,
            cpuMicrosecondsPerPush: measured.cpuSeconds / Double(measured.pushes) * 1_000_000,
            p50: measured.load.percentile(0.5), p99: measured.load.percentile(0.99),
            p999: measured.load.percentile(0.999),
            peakResidentMiB: gateway.process.peakResidentMiB, ratioToReference: nil,
            remark: "latency of a request with 1,000 pushes"
        )
        await gateway.process.stop()
        await simulator.process.stop()
        return result
    }

    private func wholePathBulk() async throws -> BenchResult {
        let simulator = try await setup.startSimulator()
        let gateway = try await setup.startGateway(simulator: simulator, name: "path")
        let cpuBefore = gateway.process.cpuSeconds
        let start = ContinuousClock.now
        let measured = try await bulk(gateway, pushes: scaled(1_000_000), extra: "")
        let total = Double(measured.pushes + Self.warmUpPushes)
        progress("whole-path-bulk: waiting for the last outcomes")
        while try await gateway.metric("godwit_outcomes_total") < total { try await Task.sleep(for: .milliseconds(10)) }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let cpu = gateway.process.cpuSeconds - cpuBefore
        let delivered = try await gateway.metric("godwit_outcomes_total", "verdict=\"delivered\"")
        guard delivered == total else {
            throw BenchError("only \(Int(delivered)) of \(Int(total)) pushes were delivered")
        }
        let result = BenchResult(
            name: "whole-path-bulk", pushes: Int(total), pushesPerSecond: total / seconds,
            cpuMicrosecondsPerPush: cpu / total * 1_000_000,
            p50: try await gateway.metric("godwit_path_seconds{quantile=\"0.5\"}") * 1000,
            p99: try await gateway.metric("godwit_path_seconds{quantile=\"0.99\"}") * 1000,
            p999: try await gateway.metric("godwit_path_seconds{quantile=\"0.999\"}") * 1000,
            peakResidentMiB: gateway.process.peakResidentMiB, ratioToReference: nil,
            remark: "latency from acceptance to the answer of APNs"
        )
        await gateway.process.stop()
        await simulator.process.stop()
        return result
    }

    static let warmUpPushes = 20_000

    /// Posts NDJSON bodies of 1,000 pushes over four connections.
    func bulk(
        _ gateway: BenchSetup.GatewayServer, pushes: Int, extra: String
    ) async throws -> (pushes: Int, load: H2Load.Measurement, cpuSeconds: Double) {
        let payload = BenchPayload.json(bytes: 95)
        let body = try setup.write(BenchPayload.ndjson(pushes: 1000, payload: payload, extra: extra), to: "bulk.ndjson")
        var load = H2Load(
            url: gateway.url + "/push/batch", requests: Self.warmUpPushes / 1000, connections: 4, isHTTP1: true)
        load.bodyFile = body
        load.headers = ["content-type: application/x-ndjson"]
        // A line per 1,000 pushes.
        load.logsRequests = true
        _ = try await load.run(folder: setup.folder)
        progress("posting \(pushes) pushes")
        load.requests = pushes / 1000
        let before = gateway.process.cpuSeconds
        let measurement = try await load.run(folder: setup.folder)
        return (pushes, measurement, gateway.process.cpuSeconds - before)
    }

    /// One push per request over 256, 64 and one connection, each in alternation with an empty route that decodes and
    /// encodes JSON.
    private func singleRoute() async throws -> [BenchResult] {
        let simulator = try await setup.startSimulator()
        let gateway = try await setup.startGateway(simulator: simulator, name: "single")
        let empty = try await setup.startEmptyRoute()
        let push = BenchPayload.ndjson(pushes: 1, payload: BenchPayload.json(bytes: 95)).dropLast()
        let route = SingleRoute(
            setup: setup, gateway: gateway, empty: "http://127.0.0.1:\(empty.port)/push",
            body: try setup.write(Array(push), to: "push.json")
        )
        _ = try await route.load(route.gateway.url + "/push", 256, 5_000)
        _ = try await route.load(route.empty, 256, 5_000)
        var results: [BenchResult] = []
        for (connections, requests) in [(256, 100_000), (64, 100_000), (1, 10_000)] {
            var rounds: [SingleRoute.Round] = []
            for round in 1...3 {
                progress("single-route: \(connections) connections, round \(round) of 3")
                rounds.append(try await route.round(connections, scaled(requests)))
            }
            results.append(try await route.result(connections, rounds))
        }
        await gateway.process.stop()
        await simulator.process.stop()
        await empty.process.stop()
        return results
    }
}

/// Measures the route for single pushes next to an empty route.
private struct SingleRoute {
    struct Round {
        var ours: H2Load.Measurement
        var reference: H2Load.Measurement
        var requests: Int
        /// CPU time of the gateway, in seconds, until all outcomes are recorded.
        var cpu: Double

        var ratio: Double { ours.rate / reference.rate }
    }

    let setup: BenchSetup
    let gateway: BenchSetup.GatewayServer
    let empty: String
    let body: String

    func load(
        _ url: String, _ connections: Int, _ requests: Int, logs: Bool = false
    ) async throws -> H2Load.Measurement {
        try await H2Load(
            url: url, requests: requests, connections: connections, isHTTP1: true, bodyFile: body,
            headers: ["content-type: application/json"], logsRequests: logs
        ).run(folder: setup.folder)
    }

    func round(_ connections: Int, _ requests: Int) async throws -> Round {
        let before = gateway.process.cpuSeconds
        let measured = try await load(gateway.url + "/push", connections, requests)
        while try await gateway.metric("godwit_pushes_in_memory") > 0 { try await Task.sleep(for: .milliseconds(10)) }
        let cpu = gateway.process.cpuSeconds - before
        return Round(
            ours: measured, reference: try await load(empty, connections, requests), requests: requests, cpu: cpu
        )
    }

    func result(_ connections: Int, _ rounds: [Round]) async throws -> BenchResult {
        let median = rounds.sorted { $0.ratio < $1.ratio }[rounds.count / 2]
        let peakResidentMiB = gateway.process.peakResidentMiB
        let latencies = try await load(gateway.url + "/push", connections, median.requests, logs: true)
        return BenchResult(
            name: connections == 256 ? "single-route" : "single-route-\(connections)", pushes: median.requests,
            pushesPerSecond: median.ours.rate, cpuMicrosecondsPerPush: median.cpu / Double(median.requests) * 1_000_000,
            p50: latencies.percentile(0.5), p99: latencies.percentile(0.99), p999: latencies.percentile(0.999),
            peakResidentMiB: peakResidentMiB, ratioToReference: median.ratio,
            remark: String(format: "%d connections; empty route: %.0f/s", connections, median.reference.rate)
        )
    }
}
