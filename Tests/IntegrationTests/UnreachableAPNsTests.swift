import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

/// What a gateway says when it cannot use APNs, and that it stays ready.
@Suite struct `A gateway without APNs` {
    /// A gateway with one app, whose endpoint is not under the control of `GatewayUnderTest`.
    private final class Instance {
        let folder: TemporaryFolder
        let process: ChildProcess
        let url: String
        private let push: String

        init(
            endpoint: String, caFile: String? = nil, credentials: SimulatorCredentials = SimulatorCredentials(),
            keyID: String? = nil
        ) async throws {
            let folder = try TemporaryFolder()
            try folder.write(credentials.privateKeyPEM, to: "key.p8")
            let port = try freePort()
            let config = try folder.write(
                """
                listen: {port: \(port)}
                store: {path: store}
                apps:
                  - name: shop
                    bundle_id: com.example.shop
                    key: {file: key.p8, key_id: \(keyID ?? credentials.keyID), team_id: \(credentials.teamID)}
                    endpoint: {\(endpoint)\(caFile.map { ", ca_file: \($0)" } ?? "")}
                shutdown: {grace: 0s}
                log: {level: notice}
                """, to: "godwit.yaml"
            )
            self.folder = folder
            process = try ChildProcess(Repository.godwit, ["serve", "--config", config])
            url = "http://127.0.0.1:\(port)"
            try await process.waitForLine(containing: "godwit: ready on")
            let sent = try await curl([
                "-H", "Content-Type: application/json", "-d",
                #"{"app":"shop","device_token":"\#(String(repeating: "ab", count: 32))","payload":{"aps":{}}}"#,
                "\(url)/push",
            ])
            push = try #require(GatewayUnderTest.value(of: "msg_id", in: sent.body), "\(sent)")
        }

        deinit { process.signal(SIGKILL) }

        func get(_ path: String) async throws -> String {
            let response = try await curl(["\(url)\(path)"])
            #expect(response.status == 200, "\(path)")
            return response.body
        }

        func metric(_ name: String) async throws -> Double? {
            let line = try await get("/metrics").split(separator: "\n").first { $0.hasPrefix("\(name)") }
            return line?.split(separator: " ").last.flatMap { Double($0) }
        }

        /// Checks that all ways to ask contain `text`, and that none contains a secret.
        func expect(_ text: String, delayed: String, log message: String) async throws {
            #expect(try await get("/readyz").hasPrefix("ready\n"))
            #expect(try await get("/readyz").contains(text))
            for path in ["/api/v1/apps", "/api/v1/messages/\(push)"] {
                // A push that waits for an answer has no delay.
                try await waitUntil("the cause in \(path)", within: .seconds(60)) {
                    let body = try await get(path)
                    guard body.contains(#""delayed":"\#(delayed)""#), body.contains(text) else { return false }
                    #expect(!body.contains("estimate"), "the end is not known: \(body)")
                    return true
                }
            }
            let apps = try await run(Repository.godwit, ["apps"], environment: ["GODWIT_URL": url])
            #expect(apps.output.contains(", for an unknown time: "), "\(apps.output)")
            #expect(apps.output.contains(text), "\(apps.output)")
            process.signal(SIGTERM)
            _ = try await process.waitForExit()
            let log = process.text(.error)
            let lines = log.split(separator: "\n").filter { $0.contains(message) }
            #expect(lines.count == 1, "\(log)")
            #expect(lines.first?.contains(text) == true && lines.first?.contains(#""app":"shop""#) == true, "\(log)")
            #expect(!log.contains("bearer") && !log.contains("abababab") && !log.contains("PRIVATE"))
        }
    }

    @Test func `names the error of a closed port`() async throws {
        let port = try freePort()
        let instance = try await Instance(endpoint: "host: 127.0.0.1, port: \(port)")
        try await waitUntil("the outage") { try await instance.metric("godwit_apns_unreachable{") == 1 }
        // The value never returns to 0 while attempts to connect are under way.
        for _ in 0..<20 {
            #expect(try await instance.metric("godwit_apns_unreachable{") == 1)
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(try await instance.metric("godwit_apns_unreachable_since_seconds{") ?? 0 > 1_700_000_000)
        let refusals = #"godwit_apns_connection_failures_total{app="shop",cause="connection_refused"}"#
        #expect(try await instance.metric(refusals) ?? 0 > 0)
        try await instance.expect(
            "connect: ECONNREFUSED (127.0.0.1:\(port))", delayed: "apns_unreachable", log: "APNs is unreachable")
    }

    @Test func `detects a listener that never speaks`() async throws {
        let listener = try LoopbackListener()
        let instance = try await Instance(endpoint: "host: 127.0.0.1, port: \(listener.port)")
        try await waitUntil("the outage", within: .seconds(60)) {
            try await instance.metric("godwit_apns_unreachable{") == 1
        }
        try await instance.expect(
            "within 10 s", delayed: "apns_unreachable", log: "APNs is unreachable")
    }

    @Test func `names the key and the likely cause of a refused credential`() async throws {
        let simulator = try await Simulator.start(
            SimulatorConfiguration(.faithful, authentication: .signingKeys([SimulatorCredentials().signingKey])))
        let folder = try TemporaryFolder()
        let authority = try folder.write(simulator.certificateAuthorityPEM, to: "ca.pem")
        let instance = try await Instance(
            endpoint: "host: localhost, port: \(simulator.port)", caFile: authority, keyID: "WRONGKEY00")
        try await waitUntil("the refusal") { try await instance.metric("godwit_apns_credential_refused{") == 1 }
        try await waitUntil("the notice") { try await instance.get("/readyz").contains("WRONGKEY00") }
        try await instance.expect(
            "InvalidProviderToken by localhost:\(simulator.port) for key ID WRONGKEY00, team ID",
            delayed: "credential_refused", log: "APNs refuses the credential")
        try await simulator.shutdown()
    }

    @Test func `names the server errors of an APNs that can be connected to`() async throws {
        let credentials = SimulatorCredentials()
        let simulator = try await Simulator.start(
            SimulatorConfiguration(.faithful, authentication: .signingKeys([credentials.signingKey])))
        let response = FaultResponse(status: 503, reason: "ServiceUnavailable")
        simulator.setFaults(FaultPlan([FaultRule(Fault(.answer(response)))]))
        let folder = try TemporaryFolder()
        let authority = try folder.write(simulator.certificateAuthorityPEM, to: "ca.pem")
        let instance = try await Instance(
            endpoint: "host: localhost, port: \(simulator.port)", caFile: authority, credentials: credentials)
        try await waitUntil("the cause of the breaker") {
            try await instance.get("/api/v1/apps").contains("APNs answered 503")
        }
        try await waitUntil("the outage", within: .seconds(60)) {
            try await instance.metric("godwit_apns_unreachable{") == 1
        }
        try await instance.expect(
            "APNs answers pushes with 503 ServiceUnavailable", delayed: "apns_unreachable", log: "APNs is unreachable")
        try await simulator.shutdown()
    }
}
