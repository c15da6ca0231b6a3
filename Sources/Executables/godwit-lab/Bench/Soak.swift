import Foundation

// Many pushes with distinct tokens to foreign servers and the simulator, with several numbers of pushes in flight. The
// result of interest is not the rate, but the absence of failures, stalls, resets and memory growth.
extension Benchmarks {
    static let soakDepths = [1, 100, 500, 2500]

    func soak() async throws -> [BenchResult] {
        let pushes = scaled(300_000)
        let certificate = try await makeCertificate()
        let nghttpd = try await setup.startNghttpd(
            certificate: certificate.file, key: certificate.key, tokens: pushes
        )
        let nginx = try await setup.startNginx(certificate: certificate.file, key: certificate.key)
        let simulator = try await setup.startSimulator()
        let servers: [(name: String, port: Int, caFile: String, keyFile: String?)] = [
            ("nghttpd", nghttpd.port, certificate.file, nil),
            ("nginx", nginx.port, certificate.file, nil),
            ("simulator", simulator.port, simulator.caFile, simulator.keyFile),
        ]
        var results: [BenchResult] = []
        for server in servers {
            for depth in Self.soakDepths {
                progress("soak: \(pushes) pushes through \(server.name), \(depth) in flight")
                let report = try await runWorker(
                    port: server.port, caFile: server.caFile, keyFile: server.keyFile, pushes: pushes, tokens: pushes,
                    more: ["--in-flight", "\(depth)", "--connections", "128", "--no-warm-up"]
                )
                results.append(Self.row("soak-\(server.name)-\(depth)", report))
            }
        }
        await nghttpd.process.stop()
        await nginx.process.stop()
        await simulator.process.stop()
        return results
    }

    private static func row(_ name: String, _ report: ClientWorker.Report) -> BenchResult {
        let grown = report.peakResidentMiB - report.earlyResidentMiB
        return BenchResult(
            name: name, pushes: report.pushes, pushesPerSecond: Double(report.pushes) / report.seconds,
            cpuMicrosecondsPerPush: report.cpuSeconds / Double(report.pushes) * 1_000_000,
            p50: report.p50, p99: report.p99, p999: report.p999, peakResidentMiB: report.peakResidentMiB,
            ratioToReference: nil,
            remark: """
                resets \(report.resets), connections \(report.connects), requeued \(report.requeued), \
                longest stall \(Int(report.longestStallMilliseconds)) ms, \
                \(String(format: "%+.0f", grown)) MiB since the first tenth
                """
        )
    }

    /// A distant server: how long the client needs to open the connections for 20,000 pushes per second.
    func farAway(_ name: String, roundTripMilliseconds: Int) async throws -> BenchResult {
        let simulator = try await setup.startSimulator(roundTripMilliseconds: roundTripMilliseconds)
        progress("\(name): pushes of 1 KiB, round trip \(roundTripMilliseconds) ms")
        let report = try await runWorker(
            port: simulator.port, caFile: simulator.caFile, keyFile: simulator.keyFile, pushes: scaled(1_000_000),
            tokens: Self.tokens,
            more: ["--payload-bytes", "1024", "--in-flight", "20000", "--connections", "128", "--no-warm-up"]
        )
        await simulator.process.stop()
        let reached = report.secondsToTarget.map { String(format: "%.0f s", $0) } ?? "never"
        return BenchResult(
            name: name, pushes: report.pushes, pushesPerSecond: report.finalRate,
            cpuMicrosecondsPerPush: report.cpuSeconds / Double(report.pushes) * 1_000_000,
            p50: report.p50, p99: report.p99, p999: report.p999, peakResidentMiB: report.peakResidentMiB,
            ratioToReference: report.finalRate / Double(ClientWorker.targetRate),
            remark: """
                rate of the best ten seconds; \(ClientWorker.targetRate)/s reached after \(reached), \
                \(report.connections) connections at the end
                """
        )
    }
}
