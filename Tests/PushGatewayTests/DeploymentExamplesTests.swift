import Foundation
import PushGateway
import PushTesting
import Testing
import Yams

/// The files in `deploy`.
@Suite struct `Deployment files` {
    private static let folder = "\(Repository.root)/deploy"

    private static func text(_ name: String) throws -> String {
        try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
    }

    /// The configuration with all optional keys uncommented. After the `#`, a comment has one space, and a key has none
    /// or its indentation.
    private static func complete() throws -> String {
        try text("godwit.yaml").split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let indent = line.prefix { $0 == " " }
            let rest = line.dropFirst(indent.count + 1)
            let isKey =
                line.dropFirst(indent.count).hasPrefix("#") && !rest.isEmpty
                && (!rest.hasPrefix(" ") || rest.hasPrefix("  "))
            return isKey ? indent + rest : line
        }.joined(separator: "\n")
    }

    /// The paths of all keys, such as `delivery.lease` and `apps[].name`.
    private static func keys(of value: Any, below path: String = "") -> Set<String> {
        if let list = value as? [Any] {
            guard list.contains(where: { $0 is [String: Any] }) else { return [path] }
            return list.reduce(into: []) { $0.formUnion(keys(of: $1, below: path + "[]")) }
        }
        guard let mapping = value as? [String: Any] else { return [path] }
        return mapping.reduce(into: []) { keys, entry in
            keys.formUnion(Self.keys(of: entry.value, below: path.isEmpty ? entry.key : "\(path).\(entry.key)"))
        }
    }

    @Test func `the configuration is valid, with and without the optional keys`() throws {
        for text in [try Self.text("godwit.yaml"), try Self.complete()] {
            let configuration = try GatewayConfiguration.parse(text, file: "godwit.yaml", folder: "/etc/godwit")
            #expect(configuration.storePath == "/var/lib/godwit")
        }
        let complete = try GatewayConfiguration.parse(Self.complete(), file: "godwit.yaml", folder: "/etc/godwit")
        #expect(complete.apps.count == 3)
        let defaults = GatewayConfiguration()
        #expect("\(complete.delivery)" == "\(defaults.delivery)")
        #expect(complete.limits == defaults.limits)
        #expect(complete.idempotentBodyMaxMiB == defaults.idempotentBodyMaxMiB)
        #expect(complete.idempotentBodiesMaxMiB == defaults.idempotentBodiesMaxMiB)
        #expect("\(complete.admission)" == "\(defaults.admission)")
        #expect("\(complete.listen)" == "\(defaults.listen)")
        #expect(complete.retention == defaults.retention && complete.connectionsMax == defaults.connectionsMax)
        #expect(complete.shutdownGrace == defaults.shutdownGrace && complete.drainTimeout == defaults.drainTimeout)
        #expect(complete.logLevel == defaults.logLevel)
    }

    @Test func `the configuration has every key of the reference page and no others`() throws {
        // An environment has keys of its app.
        let found = Set(
            Self.keys(of: try #require(try Yams.load(yaml: Self.complete()))).flatMap { key in
                key.replacing(/environments\.(production|sandbox)/, with: "environments") == key
                    ? [key] : ["apps[].environments", key.replacing(/environments\.(production|sandbox)\./, with: "")]
            }
        )
        let documented = try ConfigurationPage().keys
        try #require(documented.count > 40)
        #expect(documented.subtracting(found).sorted() == [])
        #expect(found.subtracting(documented).sorted() == [])
    }

    private static let analyzer = ["/usr/bin/systemd-analyze"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    @Test func `the unit leaves enough time to drain`() throws {
        let unit = try Self.text("godwit.service")
        let stop = try #require(unit.firstMatch(of: /\nTimeoutStopSec=(\d+)\n/).flatMap { Int($0.1) })
        let defaults = GatewayConfiguration()
        // The other 15 seconds are for requests in progress (5 s) and the last write.
        #expect(.seconds(stop) >= defaults.shutdownGrace + defaults.drainTimeout + .seconds(15))
        #expect(unit.contains("\nKillSignal=SIGTERM\n") && unit.contains("\nRestart=on-failure\n"))
        let store = try #require(unit.firstMatch(of: /\nStateDirectory=(.+)\n/)?.1)
        #expect(try Self.text("godwit.yaml").contains("path: /var/lib/\(store)\n"))
    }

    @Test func `the comments of the unit agree with its settings`() throws {
        let unit = try Self.text("godwit.service")
        func setting(_ name: String) throws -> Int {
            let line = try #require(unit.split(separator: "\n").first { $0.hasPrefix("\(name)=") })
            return try #require(Int(line.dropFirst(name.count + 1)))
        }
        let (starts, pause) = (try setting("StartLimitBurst"), try setting("RestartSec"))
        let interval = try setting("StartLimitIntervalSec")
        #expect(unit.contains("After \(starts) starts within \(interval) seconds"))
        #expect(unit.contains("RestartSec=\(pause)") && unit.contains("about \(starts * pause) seconds"))
        // Otherwise the limit would never be reached.
        #expect(starts * pause < interval)
        let defaults = GatewayConfiguration()
        let (grace, drain) = (defaults.shutdownGrace.components.seconds, defaults.drainTimeout.components.seconds)
        #expect(unit.contains("shutdown.grace (\(grace) s)"))
        #expect(unit.contains("delivery.drain_timeout (\(drain) s)"))
        #expect(unit.contains("\nType=notify\n") && unit.contains("kill -HUP $$MAINPID"))
        // Reports to systemd need it.
        #expect(unit.contains("\nRestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\n"))
    }

    @Test(.enabled(if: analyzer != nil, "systemd-analyze is not installed"))
    func `the unit passes systemd-analyze verify`() async throws {
        let folder = try TemporaryFolder()
        // The program of ExecStart must exist.
        let unit = try Self.text("godwit.service").replacing("/usr/local/bin/godwit", with: "/bin/true")
        let file = try folder.write(unit, to: "godwit.service")
        let result = try await run(try #require(Self.analyzer), ["verify", file])
        #expect(result.exit == .status(0) && !result.error.contains("godwit.service"), "\(result.error)")
    }

    private static let promtool = ["/usr/bin/promtool", "/usr/local/bin/promtool"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    @Test(.enabled(if: promtool != nil, "promtool is not installed (Debian package prometheus)"))
    func `the alerts pass promtool and their tests`() async throws {
        let promtool = try #require(Self.promtool)
        for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts-test.yaml"]] {
            let result = try await run(promtool, arguments, folder: Self.folder)
            #expect(result.exit == .status(0), "\(result.output) \(result.error)")
        }
        // Every alert has a test.
        let alerts = try Self.text("alerts.yaml").matches(of: /alert: (\w+)/).map { String($0.1) }
        let tests = try Self.text("alerts-test.yaml")
        #expect(alerts.filter { !tests.contains("\"\($0)\"") } == [])
    }
}
