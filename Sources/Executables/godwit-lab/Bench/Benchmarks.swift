import Foundation

/// The benchmarks. Each starts what it needs, measures, and stops it again; whatever is compared is measured in turn,
/// in the same run, because the machine's speed changes from minute to minute.
struct Benchmarks {
    let setup: BenchSetup
    /// Multiplies the number of pushes; below 1 for a quick look.
    let scale: Double
    let progress: @Sendable (String) -> Void

    /// Those that run unless one is asked for by name.
    static let standard = ["client-simulator", "client-nghttpd", "bulk-accept", "whole-path-bulk", "single-route"]
    /// All of them. The others take minutes.
    static let names = standard + ["fairness", "overload", "backlog", "far-50ms", "far-150ms", "soak"]

    func run(_ name: String) async throws -> [BenchResult] {
        switch name {
        case "client-simulator": [try await clientAgainstSimulator()]
        case "client-nghttpd": [try await clientAgainstNghttpd()]
        case "bulk-accept": [try await bulkAccept()]
        case "whole-path-bulk": [try await wholePathBulk()]
        case "single-route": [try await singleRoute()]
        case "fairness": try await fairness()
        case "overload": [try await overload()]
        case "backlog": [try await backlog()]
        case "far-50ms": [try await farAway(name, roundTripMilliseconds: 50)]
        case "far-150ms": [try await farAway(name, roundTripMilliseconds: 150)]
        case "soak": try await soak()
        default: throw BenchError("there is no benchmark \(name); there are \(Self.names.joined(separator: ", "))")
        }
    }

    func scaled(_ count: Int) -> Int { max(2_000, Int(Double(count) * scale) / 1000 * 1000) }

    // MARK: The APNs client

    /// Distinct device tokens in the client benchmarks; each push has an id of its own.
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

    /// Ours and h2load in turn, three times each; the median of the ratios is what counts.
    private func client(
        _ name: String, port: Int, caFile: String, keyFile: String?, headers: [String], server: BenchProcess
    ) async throws -> BenchResult {
        let pushes = scaled(300_000)
        let body = try setup.write(BenchPayload.json(bytes: 95), to: "payload.json")
        let urls = (0..<Self.tokens).map { "https://localhost:\(port)/3/device/\(BenchPayload.hexToken($0))\n" }
        let urlFile = try setup.write(Array(urls.joined().utf8), to: "urls.txt")
        var pairs: [(ours: ClientWorker.Report, yardstick: H2Load.Measurement)] = []
        for round in 1...3 {
            progress("\(name): round \(round) of 3")
            let ours = try await runWorker(
                port: port, caFile: caFile, keyFile: keyFile, pushes: pushes, tokens: Self.tokens, more: []
            )
            let yardstick = try await H2Load(
                url: "", requests: pushes, connections: 1, streams: 1000, bodyFile: body, urlFile: urlFile,
                headers: headers
            ).run(folder: setup.folder)
            pairs.append((ours, yardstick))
        }
        await server.stop()
        pairs.sort { Self.ratio($0) < Self.ratio($1) }
        let middle = pairs[1]
        return BenchResult(
            name: name, pushes: pushes, pushesPerSecond: Double(pushes) / middle.ours.seconds,
            cpuMicrosecondsPerPush: middle.ours.cpuSeconds / Double(pushes) * 1_000_000,
            p50: middle.ours.p50, p99: middle.ours.p99, p999: middle.ours.p999,
            peakResidentMiB: middle.ours.peakResidentMiB, ratioToYardstick: Self.ratio(middle),
            remark: String(format: "h2load: %.0f/s", middle.yardstick.rate)
        )
    }

    /// Runs the client under test in a process of its own.
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
        else { throw BenchError("the client under test failed:\n\(worker.text.suffix(1500))") }
        return try JSONDecoder().decode(ClientWorker.Report.self, from: Data(line.utf8))
    }

    private static func ratio(_ pair: (ours: ClientWorker.Report, yardstick: H2Load.Measurement)) -> Double {
        Double(pair.ours.pushes) / pair.ours.seconds / pair.yardstick.rate
    }

    // MARK: The gateway

    /// Pushes that are due tomorrow: parsed, stored and answered, but not sent.
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
            peakResidentMiB: gateway.process.peakResidentMiB, ratioToYardstick: nil,
            remark: "latency of a request of 1,000"
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
            peakResidentMiB: gateway.process.peakResidentMiB, ratioToYardstick: nil,
            remark: "latency from accepted to answered by APNs"
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
        _ = try await load.run(folder: setup.folder)
        progress("posting \(pushes) pushes")
        load.requests = pushes / 1000
        let before = gateway.process.cpuSeconds
        let measurement = try await load.run(folder: setup.folder)
        return (pushes, measurement, gateway.process.cpuSeconds - before)
    }

    /// One push a request over 256 connections, in turn with an empty route that decodes JSON and answers JSON.
    private func singleRoute() async throws -> BenchResult {
        let simulator = try await setup.startSimulator()
        let gateway = try await setup.startGateway(simulator: simulator, name: "single")
        let empty = try await setup.startEmptyRoute()
        let push = BenchPayload.ndjson(pushes: 1, payload: BenchPayload.json(bytes: 95)).dropLast()
        let body = try setup.write(Array(push), to: "push.json")
        func load(_ url: String, _ requests: Int) async throws -> H2Load.Measurement {
            try await H2Load(
                url: url, requests: requests, connections: 256, isHTTP1: true, bodyFile: body,
                headers: ["content-type: application/json"]
            ).run(folder: setup.folder)
        }
        let requests = scaled(100_000)
        let (ours, yardstick) = (gateway.url + "/push", "http://127.0.0.1:\(empty.port)/push")
        _ = try await load(ours, 5_000)
        _ = try await load(yardstick, 5_000)
        var rounds: [(ours: H2Load.Measurement, yardstick: H2Load.Measurement, cpu: Double)] = []
        for round in 1...3 {
            progress("single-route: round \(round) of 3")
            let before = gateway.process.cpuSeconds
            let measured = try await load(ours, requests)
            // The pushes of this round are on their way until their outcomes are in; they belong to its cost.
            while try await gateway.metric("godwit_pushes_in_memory") > 0 {
                try await Task.sleep(for: .milliseconds(10))
            }
            let cpu = gateway.process.cpuSeconds - before
            rounds.append((measured, try await load(yardstick, requests), cpu))
        }
        rounds.sort { $0.ours.rate / $0.yardstick.rate < $1.ours.rate / $1.yardstick.rate }
        let middle = rounds[1]
        let result = BenchResult(
            name: "single-route", pushes: requests, pushesPerSecond: middle.ours.rate,
            cpuMicrosecondsPerPush: middle.cpu / Double(requests) * 1_000_000,
            p50: middle.ours.percentile(0.5), p99: middle.ours.percentile(0.99), p999: middle.ours.percentile(0.999),
            peakResidentMiB: gateway.process.peakResidentMiB,
            ratioToYardstick: middle.ours.rate / middle.yardstick.rate,
            remark: String(format: "empty route: %.0f/s", middle.yardstick.rate)
        )
        await gateway.process.stop()
        await simulator.process.stop()
        await empty.process.stop()
        return result
    }
}
