import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `Metrics and logs` {
    private static func samples(_ gateway: GatewayUnderTest, _ name: String) async throws -> [String] {
        let text = try await curl(["\(gateway.url)/metrics"]).body
        return text.split(separator: "\n").filter { $0.hasPrefix(name) }.map(String.init)
    }

    @Test func `count outcomes by app and code, and log failures`() async throws {
        let gateway = try await GatewayUnderTest(extra: "")
        defer { gateway.process.signal(SIGKILL) }
        for number in 0..<3 {
            let digits = String(repeating: "0", count: 63) + "\(number)"
            gateway.simulator.setTokenState(.bad, of: try #require(DeviceToken(hex: digits)))
        }
        let sent = try await gateway.post(ndjson: gateway.pushFile("five", count: 5, from: 0))
        #expect(sent.accepted.count == 5)
        #expect(try await gateway.settledStates(of: sent.accepted) == ["rejected": 3, "delivered": 2])
        // Cancelled in the queue, before dispatch claims it.
        let scheduled = try await curl([
            "-H", "Content-Type: application/json", "-d",
            #"{"device_token":"\#(String(repeating: "ab", count: 32))","not_before":1900000000,"payload":{"aps":{}}}"#,
            "\(gateway.url)/push",
        ])
        let id = try #require(GatewayUnderTest.value(of: "msg_id", in: scheduled.body))
        #expect(try await curl(["-X", "DELETE", "\(gateway.url)/api/v1/messages/\(id)"]).status == 200)
        let found = try await Self.samples(gateway, "godwit_outcomes_total")
        #expect(
            found == [
                #"godwit_outcomes_total{app="com.example.app",verdict="cancelled",code="3013"} 1"#,
                #"godwit_outcomes_total{app="com.example.app",verdict="delivered",code="0"} 2"#,
                #"godwit_outcomes_total{app="com.example.app",verdict="expired",code="3012"} 0"#,
                #"godwit_outcomes_total{app="com.example.app",verdict="given_up",code="3016"} 0"#,
                #"godwit_outcomes_total{app="com.example.app",verdict="rejected",code="3003"} 3"#,
                #"godwit_outcomes_total{app="com.example.app",verdict="rejected",code="3011"} 0"#,
                #"godwit_outcomes_total{app="com.example.app",verdict="suppressed",code="3022"} 0"#,
            ])
        #expect(try await gateway.stop() == .status(0))
        let log = gateway.process.text(.error).split(separator: "\n").filter { $0.contains("APNs rejected pushes") }
        #expect(log.count == 1, "\(log)")
        let line = try #require(try objects(log.joined(separator: "\n")).first)
        let text = try #require(log.first)
        #expect(text.contains("BadDeviceToken") && text.contains("com.example.app") && text.contains("3003"), "\(line)")
        #expect(!gateway.process.text(.error).contains("0000000000"))
        try await gateway.close()
    }

    @Test func `have the names that the reference page and the alerts use`() async throws {
        let gateway = try await RunningGateway.start()
        let text = try await curl(["\(gateway.url)/metrics"]).body
        #expect(try await gateway.stop() == .status(0))
        let served = Set(Metric.served(text).map(\.description))
        try #require(served.count > 40)

        let page = try String(contentsOfFile: "\(Repository.root)/docs/reference/metrics.md", encoding: .utf8)
        let documented = Set(Metric.documented(page).map(\.description))
        #expect(served.subtracting(documented).sorted() == [], "not on the page")
        #expect(documented.subtracting(served).sorted() == [], "not served")

        let alerts = try String(
            contentsOfFile: "\(Repository.root)/deploy/alerts.yaml", encoding: .utf8)
        let used = Set(alerts.matches(of: /godwit_\w+/).map { String($0.0) })
        let names = Set(Metric.served(text).map(\.name))
        #expect(used.subtracting(names) == [], "alerts on unknown metrics")
    }
}

/// A metric, without its values.
private struct Metric: CustomStringConvertible {
    var name: String
    var type: String
    var labels: Set<String>

    var description: String { "\(name) \(type) \(labels.sorted().joined(separator: ","))" }

    /// Parses an exposition. The label `le` belongs to the type.
    static func served(_ text: String) -> [Metric] {
        text.matches(of: /TYPE (\w+) (\w+)/).map { match in
            let (name, type) = (String(match.1), String(match.2))
            let samples = text.split(separator: "\n").filter { line in
                guard let end = line.firstIndex(where: { $0 == "{" || $0 == " " }) else { return false }
                return line[..<end] == (type == "histogram" ? name + "_bucket" : name)
            }
            let labels = samples.first?.matches(of: /(\w+)="/).map { String($0.1) } ?? []
            return Metric(name: name, type: type, labels: Set(labels).subtracting(["le"]))
        }
    }

    /// Parses the tables of the page.
    static func documented(_ page: String) -> [Metric] {
        page.matches(of: /(?m)^\| `(\w+)` \| (\w+) \| ([^|]+) \|/).map { match in
            let labels = match.3.matches(of: /`(\w+)`/).map { String($0.1) }
            return Metric(name: String(match.1), type: String(match.2), labels: Set(labels))
        }
    }
}
