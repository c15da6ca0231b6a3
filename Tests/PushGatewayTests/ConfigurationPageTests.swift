import APNSWire
import Foundation
import PushAccept
import PushGateway
import PushModel
import PushTesting
import Testing

/// `docs/reference/configuration.md`: its rows, by key.
struct ConfigurationPage {
    /// The keys, with `[]` for a list: `apps[].key.file`.
    let keys: Set<String>
    /// Defaults that are values, as written in the file; keys without one are missing.
    let defaults: [String: String]

    init() throws {
        let path = "\(Repository.root)/docs/reference/configuration.md"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        var keys: Set<String> = []
        var defaults: [String: String] = [:]
        for row in text.matches(of: /(?m)^\| `([a-z0-9_.\[\]]+)` \| [^|]+ \| ([^|]+) \|/) {
            let key = String(row.1)
            keys.insert(key)
            if let value = row.2.wholeMatch(of: /`([^`]+)`/) { defaults[key] = String(value.1) }
        }
        self.keys = keys
        self.defaults = defaults
    }
}

@Suite struct `The configuration reference` {
    private static let app = """
        apps:
          - bundle_id: com.example.app
            key: {file: a.p8, key_id: ABCDE12345, team_id: TEAM123456}
        """

    /// YAML with the defaults of the page, for all sections except `apps` and `apns.proxy`.
    private static func sections(_ defaults: [String: String]) -> String {
        var lines: [String: [String]] = [:]
        for (key, value) in defaults.sorted(by: { $0.key < $1.key }) {
            let parts = key.split(separator: ".").map(String.init)
            switch parts.count {
            case 2 where !parts[0].hasSuffix("[]"): lines[parts[0], default: []].append("  \(parts[1]): \(value)")
            // Such as `limits.batch.rate`. There is no proxy by default.
            case 3 where parts[0] == "limits":
                lines[parts[0], default: []].append("  \(parts[1]).\(parts[2]): \(value)")
            default: break
            }
        }
        return lines.sorted { $0.key < $1.key }.map { section, lines in
            "\(section):\n" + Self.nested(lines).joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// Combines `batch.rate: 50` and `batch.burst: 100` into a nested mapping.
    private static func nested(_ lines: [String]) -> [String] {
        var plain: [String] = []
        var groups: [String: [String]] = [:]
        for line in lines {
            if let match = line.wholeMatch(of: /[ ]{2}(\w+)\.(\w+: .+)/) {
                groups[String(match.1), default: []].append(String(match.2))
            } else {
                plain.append(line)
            }
        }
        return plain + groups.sorted { $0.key < $1.key }.map { "  \($0.key): {\($0.value.joined(separator: ", "))}" }
    }

    @Test func `shows the defaults of the code`() throws {
        let page = try ConfigurationPage()
        try #require(page.defaults.count > 30)
        let text = Self.sections(page.defaults) + "\n" + Self.app
        let documented = try GatewayConfiguration.parse(text, file: "page", folder: "")
        let defaults = GatewayConfiguration()
        #expect("\(documented.listen)" == "\(defaults.listen)")
        #expect(documented.storePath == defaults.storePath && documented.retention == defaults.retention)
        #expect(documented.connectionsMax == defaults.connectionsMax)
        #expect("\(documented.delivery)" == "\(defaults.delivery)")
        #expect(documented.limits == defaults.limits)
        #expect(documented.accept.idempotentBodyBytesMax == defaults.accept.idempotentBodyBytesMax)
        #expect(documented.accept.idempotentBodiesBytesMax == defaults.accept.idempotentBodiesBytesMax)
        #expect(documented.clientConnections == defaults.clientConnections)
        #expect(documented.heldMaxMiB == defaults.heldMaxMiB)
        #expect(documented.storedResponsesMax == defaults.storedResponsesMax)
        #expect(documented.storedResponsesMaxMiB == defaults.storedResponsesMaxMiB)
        #expect("\(documented.admission)" == "\(defaults.admission)")
        #expect(documented.shutdownGrace == defaults.shutdownGrace && documented.drainTimeout == defaults.drainTimeout)
        #expect(documented.logLevel == defaults.logLevel)
    }

    @Test func `shows the defaults of an app and of a proxy`() throws {
        let page = try ConfigurationPage()
        let text = Self.app + "\n    endpoint: {host: localhost}\napns: {proxy: {host: localhost}}\n"
        let parsed = try GatewayConfiguration.parse(text, file: "page", folder: "")
        let app = try #require(parsed.apps.first)
        let settings = try #require(app.environments.first)
        #expect(page.defaults["apps[].environment"] == settings.environment.label)
        #expect(page.defaults["apps[].endpoint.port"] == settings.endpoint.map { "\($0.port)" })
        #expect(page.defaults["apns.proxy.port"] == parsed.proxy.map { "\($0.port)" })
        #expect(app.name == app.bundleID && settings.rate == nil && app.environments.count == 1)
    }

    /// The keys that the code reads are string literals in its source.
    @Test func `has every key that the code reads and no others`() throws {
        let folder = "\(Repository.root)/Sources/Push/PushGateway"
        let files = try #require(FileManager.default.enumerator(atPath: folder)).compactMap { $0 as? String }
        let readers = files.filter { $0.hasSuffix(".swift") && $0.contains("+YAML") }
        try #require(!readers.isEmpty)
        var read: Set<String> = []
        for file in readers {
            let source = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
            for match in source.matches(
                of: /\.(?:read|readRequired|readDuration|readRateLimit|readTexts|section|list)\("([a-z0-9_]+)"/)
            {
                read.insert(String(match.1))
            }
            for match in source.matches(of: /\.section\(oneOf: \["(\w+)", "(\w+)"\]/) {
                read.formUnion([String(match.1), String(match.2)])
            }
        }
        let page = try ConfigurationPage()
        let documented = Set(
            page.keys.flatMap { key in key.replacing("[]", with: "").split(separator: ".").map(String.init) })
        #expect(read.subtracting(documented).sorted() == [], "not on the page")
        #expect(documented.subtracting(read).sorted() == [], "on the page only")
    }
}
