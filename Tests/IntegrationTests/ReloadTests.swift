import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

/// SIGHUP: credentials and the log level are read again, and nothing stops.
@Suite struct `A gateway that reloads` {
    /// A gateway whose configuration changes, and a simulator that accepts two keys of a team.
    private final class Setup {
        let folder: TemporaryFolder
        let simulator: Simulator
        let old = SimulatorCredentials(keyID: "OLDKEY0000")
        let new = SimulatorCredentials(keyID: "NEWKEY0000")
        let port: Int
        private(set) var process: ChildProcess!

        init() async throws {
            folder = try TemporaryFolder()
            simulator = try await Simulator.start(
                SimulatorConfiguration(.faithful, authentication: .signingKeys([old.signingKey, new.signingKey])))
            port = try freePort()
            try folder.write(old.privateKeyPEM, to: "old.p8")
            try folder.write(new.privateKeyPEM, to: "new.p8")
            try folder.write(simulator.certificateAuthorityPEM, to: "ca.pem")
            try configure(old, "old.p8")
            process = try ChildProcess(Repository.godwit, ["serve", "--config", folder.file("godwit.yaml")])
            try await process.waitForLine(containing: "godwit: ready on")
        }

        deinit { process?.signal(SIGKILL) }

        var url: String { "http://127.0.0.1:\(port)" }

        func configure(
            _ credentials: SimulatorCredentials, _ file: String, level: String = "notice", extra: String = ""
        ) throws {
            try folder.write(
                """
                listen: {port: \(port)}
                store: {path: store}
                apps:
                  - bundle_id: com.example.app
                    key: {file: \(file), key_id: \(credentials.keyID), team_id: \(credentials.teamID)}
                    endpoint: {host: localhost, port: \(simulator.port), ca_file: ca.pem}
                limits: {batch: {rate: 0}}
                shutdown: {grace: 0s}
                log: {level: \(level)}
                \(extra)
                """, to: "godwit.yaml")
        }

        /// The lines that end a reload.
        private var reloads: [[String: Any]] {
            let failed = "reload failed in part, what failed keeps its old values"
            return log.filter { ["reloaded", failed].contains($0["message"] as? String) }
        }

        var log: [[String: Any]] { (try? objects(process.text(.error))) ?? [] }

        func lines(_ message: String) -> [[String: Any]] { log.filter { $0["message"] as? String == message } }

        /// Sends SIGHUP and returns the line that ends the reload.
        func reload() async throws -> [String: Any] {
            let before = reloads.count
            process.signal(SIGHUP)
            try await waitUntil("the reload") { reloads.count > before }
            return try #require(reloads.last)
        }

        func push(_ count: Int) async throws -> [String] {
            let body = (0..<count).map { number in
                let token = String(repeating: "0", count: 56) + String(format: "%08x", number)
                return #"{"device_token":"\#(token)","payload":{"aps":{"alert":"x"}}}"#
            }
            let file = try folder.write(body.joined(separator: "\n"), to: "pushes.ndjson")
            let response = try await curl([
                "-H", "Content-Type: application/x-ndjson", "--data-binary", "@\(file)", "\(url)/push/batch",
            ])
            return response.body.split(separator: "\n").filter { $0.contains("\"accepted\"") }.compactMap {
                GatewayUnderTest.value(of: "msg_id", in: $0)
            }
        }

        func metric(_ name: String) async throws -> Double {
            let text = try await curl(["\(url)/metrics"]).body
            let values = text.split(separator: "\n").filter { $0.hasPrefix(name) }
            return values.compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0, +)
        }
    }

    @Test(.timeLimit(.minutes(4)))
    func `replaces a key under load without a failed push`() async throws {
        let setup = try await Setup()
        // The answers take a while, so that pushes are in flight at each reload.
        try setup.simulator.changeSettings { $0.answerDelay = .milliseconds(20) }
        var accepted: [String] = []
        for round in 0..<8 {
            accepted += try await setup.push(1000)
            let isNew = round % 2 == 0
            try setup.configure(isNew ? setup.new : setup.old, isNew ? "new.p8" : "old.p8")
            let line = try await setup.reload()
            #expect(line["credentials.replaced"] as? Int == 1 && line["credentials.kept"] as? Int == 0, "\(line)")
        }
        try await waitUntil("all outcomes", within: .seconds(120), every: .milliseconds(100)) {
            try await setup.metric("godwit_outcomes_total") >= 8000
        }
        #expect(accepted.count == 8000)
        let delivered = try await setup.metric(#"godwit_outcomes_total{app="com.example.app",verdict="delivered""#)
        #expect(delivered == 8000)
        #expect(setup.simulator.takenIDs().count == 8000, "no push was sent twice")
        #expect(try await setup.metric("godwit_ambiguous_attempts_total") == 0)
        #expect(try await setup.metric("godwit_retries_total") == 0)
        let credentials = setup.lines("credential replaced").compactMap { $0["credential"] as? String }
        #expect(credentials.first?.contains("NEWKEY0000") == true && credentials.count == 8, "\(credentials)")
        setup.process.signal(SIGTERM)
        #expect(try await setup.process.waitForExit() == .status(0))
        try await setup.simulator.shutdown()
    }

    @Test func `keeps what it has if a file cannot be used`() async throws {
        let setup = try await Setup()
        let unchanged = try await setup.reload()
        #expect(unchanged["credentials.unchanged"] as? Int == 1 && unchanged["credentials.replaced"] as? Int == 0)
        #expect(unchanged["message"] as? String == "reloaded")

        try setup.folder.write("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n", to: "old.p8")
        let kept = try await setup.reload()
        #expect(kept["credentials.kept"] as? Int == 1 && kept["failed"] as? String == "credentials")
        #expect(kept["level"] as? String == "error")
        let error = try #require(setup.lines("credential not replaced, the one in use is kept").last)
        #expect(error["level"] as? String == "error" && error["app"] as? String == "com.example.app")
        #expect((error["error"] as? String)?.contains("damaged or cut off") == true)
        #expect(try await setup.push(3).count == 3)
        try await waitUntil("the deliveries") { setup.simulator.counters.taken == 3 }

        // A configuration that is wrong keeps the settings, and the files of credentials are read again nevertheless.
        try setup.folder.write(setup.old.privateKeyPEM, to: "old.p8")
        try setup.configure(setup.old, "old.p8", extra: "nonsense: 1")
        let wrong = try await setup.reload()
        #expect(wrong["credentials.unchanged"] as? Int == 1 && wrong["log.level"] as? String == "notice")
        #expect(wrong["failed"] as? String == "configuration" && wrong["level"] as? String == "error")
        #expect(setup.lines("configuration not used, the settings in use are kept").count == 1)
        #expect(!setup.process.text(.error).contains("c2VjcmV0"))
        setup.process.signal(SIGTERM)
        #expect(try await setup.process.waitForExit() == .status(0))
        try await setup.simulator.shutdown()
    }

    @Test func `changes the log level, and says what needs a restart`() async throws {
        let setup = try await Setup()
        try setup.configure(setup.old, "old.p8", level: "debug", extra: "admission: {queued_pushes_max: 7}")
        let line = try await setup.reload()
        #expect(line["log.level"] as? String == "debug" && line["log.level.before"] as? String == "notice")
        #expect(setup.lines("the configuration has other changes, which take effect at the next start").count == 1)
        #expect(try await setup.push(1).count == 1)
        try await waitUntil("a line of level debug") { !setup.lines("connected to APNs").isEmpty }
        setup.process.signal(SIGTERM)
        #expect(try await setup.process.waitForExit() == .status(0))
        try await setup.simulator.shutdown()
    }
}
