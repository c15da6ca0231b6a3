import Foundation
import PushAccept
import PushDispatch
import PushModel
import Yams

extension GatewayConfiguration {
    /// Reads a configuration file.
    ///
    /// Keys, all optional unless said otherwise:
    ///
    /// - `listen.host` (127.0.0.1), `listen.port` (8025; 0 takes a free one)
    /// - `store.path` (godwit-data), relative to the file's folder; `store.retention` (7d)
    /// - `apps[]`: `bundle_id` (required), `name` (the bundle ID), `environment` (production), `rate` (pushes a second)
    /// - `apps[].key`: `file`, `key_id`, `team_id`
    /// - `apps[].certificate` in its place: `p12_file`, or `file` and `key_file`; `password_file`
    /// - `apps[].endpoint`: `host` (required), `port` (443), `ca_file`
    /// - `apns`: `connections_max` (128), `proxy.host`, `proxy.port` (3128), `proxy.user`, `proxy.password_file`
    /// - `delivery`: `retry_base` (500ms), `retry_cap` (60s), `attempts_max` (50), `request_timeout` (10s),
    ///   `lifetime` (24h), `urgent_lifetime` (1h), `drain_timeout` (10s), `lease` (20s), `breaker_open` (5s),
    ///   `breaker_open_max` (60s), `breaker_slow_after` (5s), `credential_probe` (30s), `retry_budget_per_second` (10),
    ///   `retry_budget_burst` (100)
    /// - `limits`: `push`, `batch` (50, 100), `status`, `control`: each `rate` (requests a second of a caller; 0: none) and
    ///   `burst`; `limits.device`: `count`, `per` (pushes to one device); `limits.idempotent_body_max_mib` (8),
    ///   `limits.idempotent_bodies_max_mib` (64)
    /// - `admission`: `queued_pushes_max` (5000000), `disk_free_min_mib` (256), `oldest_due_max`, `memory_max_mib`; 0: none
    /// - `shutdown.grace` (5s)
    /// - `log.level` (info)
    ///
    /// - Throws: `ConfigurationError` with every problem found, each with its line.
    package static func read(path: String) throws(ConfigurationError) -> GatewayConfiguration {
        let text: String
        do throws(UnreadableFile) {
            text = try TextFile.read(path)
        } catch {
            throw ConfigurationError(file: path, problems: ["the file cannot be read: \(error)"])
        }
        let folder = (path as NSString).deletingLastPathComponent
        return try parse(text, file: path, folder: folder)
    }

    /// The same from text; relative paths in it are resolved against `folder`.
    package static func parse(
        _ text: String, file: String, folder: String
    ) throws(ConfigurationError) -> GatewayConfiguration {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw ConfigurationError(file: file, problems: ["not YAML: \(firstLine(of: error))"])
        }
        var configuration = GatewayConfiguration()
        var reader = YAMLReader(root)
        configuration.fill(from: &reader, folder: folder)
        let problems = configuration.problems(beside: reader)
        guard problems.isEmpty else { throw ConfigurationError(file: file, problems: problems) }
        return configuration
    }

    /// All that is wrong, in the order of the file; what follows from a value that could not be read is left out.
    private func problems(beside reader: YAMLReader) -> [String] {
        let unread = reader.problems.filter { !$0.isUnknownKey }.map(\.path)
        func isUnread(_ place: String) -> Bool {
            unread.contains { path in
                path == place || path.hasPrefix(place + ".") || path.hasPrefix(place + "[")
                    || place.hasPrefix(path + ".")
                    || path.isEmpty
            }
        }
        let values = locatedProblems().filter { !isUnread($0.place) }.map { problem in
            // Of what is not in the file, where its section stands.
            let section = problem.place.split(separator: ".").first.map(String.init) ?? ""
            let line = reader.lines[problem.place] ?? reader.lines[section]
            return YAMLReader.Problem(path: problem.place, line: line, text: problem.text)
        }
        let all = (reader.problems + values).enumerated()
        return all.sorted { ($0.element.line ?? .max, $0.offset) < ($1.element.line ?? .max, $1.offset) }
            .map(\.element.description)
    }

    private static func firstLine(of error: any Error) -> String {
        "\(error)".split(separator: "\n").prefix(2).joined(separator: " ")
    }

    private mutating func fill(from reader: inout YAMLReader, folder: String) {
        func resolved(_ path: String) -> String {
            path.hasPrefix("/") || folder.isEmpty ? path : (folder as NSString).appendingPathComponent(path)
        }
        reader.section("listen") { section in
            section.read("host") { listen.host = $0 }
            section.read("port") { listen.port = $0 }
        }
        reader.section("store") { section in
            section.read("path") { storePath = $0 }
            section.readDuration("retention") { retention = $0 }
        }
        storePath = resolved(storePath)
        reader.list("apps") { item in
            var app = App(
                name: "", bundleID: "", environment: .production,
                credential: .key(Key(file: "", keyID: "", teamID: ""))
            )
            item.readRequired("bundle_id") { app.bundleID = $0 }
            app.name = app.bundleID
            item.read("name") { app.name = $0 }
            item.read("environment", oneOf: Environment.allCases.map(\.rawValue)) {
                app.environment = Environment(rawValue: $0) ?? .production
            }
            item.read("rate") { app.rate = $0 }
            item.requiredSection(oneOf: ["key", "certificate"]) { kind, section in
                app.credential =
                    kind == "key"
                    ? .key(Self.key(from: &section, resolved))
                    : .certificate(Self.certificate(from: &section, resolved))
            }
            item.section("endpoint") { section in
                var endpoint = Endpoint(host: "", port: 443)
                section.readRequired("host") { endpoint.host = $0 }
                section.read("port") { endpoint.port = $0 }
                section.read("ca_file") { endpoint.caFile = resolved($0) }
                app.endpoint = endpoint
            }
            apps.append(app)
        }
        reader.section("apns") { section in
            section.read("connections_max") { connectionsMax = $0 }
            section.section("proxy") { section in
                var proxy = Proxy(host: "", port: 3128)
                section.readRequired("host") { proxy.host = $0 }
                section.read("port") { proxy.port = $0 }
                section.read("user") { proxy.user = $0 }
                section.read("password_file") { proxy.passwordFile = resolved($0) }
                self.proxy = proxy
            }
        }
        reader.section("delivery") { section in
            section.readDuration("retry_base") { delivery.policy.retryBase = $0 }
            section.readDuration("retry_cap") { delivery.policy.retryCap = $0 }
            section.read("attempts_max") { (count: Int) in delivery.policy.attemptsMax = UInt16(clamping: count) }
            section.readDuration("request_timeout") { delivery.requestTimeout = $0 }
            section.readDuration("lease") {
                delivery.lease = $0
                delivery.renewEvery = $0 / 4
            }
            section.readDuration("breaker_open") { delivery.breaker.openBase = $0 }
            section.readDuration("breaker_open_max") { delivery.breaker.openCap = $0 }
            section.readDuration("breaker_slow_after") { delivery.breaker.slowAfter = $0 }
            section.readDuration("credential_probe") { delivery.credentialProbeEvery = $0 }
            section.read("retry_budget_per_second") { (rate: Int) in delivery.retryBudget.perSecond = Double(rate) }
            section.read("retry_budget_burst") { (count: Int) in delivery.retryBudget.burst = Double(count) }
            section.readDuration("lifetime") { delivery.policy.lifetime = $0 }
            section.readDuration("urgent_lifetime") { delivery.policy.urgentLifetime = $0 }
            section.readDuration("drain_timeout") { drainTimeout = $0 }
        }
        reader.section("limits") { section in
            Self.read("push", from: &section, into: &limits.push)
            Self.read("batch", from: &section, into: &limits.batch)
            Self.read("status", from: &section, into: &limits.status)
            Self.read("control", from: &section, into: &limits.control)
            section.read("idempotent_body_max_mib") { idempotentBodyMaxMiB = $0 }
            section.read("idempotent_bodies_max_mib") { idempotentBodiesMaxMiB = $0 }
            section.section("device") { section in
                var count = 10
                var period = Duration.seconds(60)
                section.read("count") { count = $0 }
                section.readDuration("per") { period = $0 }
                limits.device = count == 0 ? nil : RateLimit(count, in: period)
            }
        }
        reader.section("admission") { section in
            section.read("queued_pushes_max") { admission.queuedPushesMax = $0 == 0 ? nil : $0 }
            section.read("disk_free_min_mib") { admission.bytesFreeMin = $0 == 0 ? nil : min($0, 1 << 40) << 20 }
            section.readDuration("oldest_due_max") { admission.oldestDueMax = $0 == .zero ? nil : $0 }
            section.read("memory_max_mib") { admission.memoryBytesMax = $0 == 0 ? nil : min($0, 1 << 40) << 20 }
        }
        reader.section("shutdown") { section in
            section.readDuration("grace") { shutdownGrace = $0 }
        }
        reader.section("log") { section in
            section.read("level") { logLevel = $0 }
        }
        reader.finish()
    }

    /// Requests a second of each caller, and how many at once; a rate of 0 takes the limit away.
    private static func read(_ name: String, from reader: inout YAMLReader, into limit: inout RateLimit?) {
        reader.section(name) { section in
            var rate = limit.map { Int($0.perSecond) } ?? 0
            var burst: Int?
            section.read("rate") { rate = $0 }
            section.read("burst") { burst = $0 }
            limit = rate == 0 ? nil : RateLimit(perSecond: Double(rate), burst: burst ?? 2 * rate)
        }
    }

    private static func key(from section: inout YAMLReader, _ resolved: (String) -> String) -> Key {
        var key = Key(file: "", keyID: "", teamID: "")
        section.readRequired("file") { key.file = resolved($0) }
        section.readRequired("key_id") { key.keyID = $0 }
        section.readRequired("team_id") { key.teamID = $0 }
        return key
    }

    private static func certificate(from section: inout YAMLReader, _ resolved: (String) -> String) -> Certificate {
        var certificate = Certificate()
        section.read("p12_file") { certificate.p12File = resolved($0) }
        section.read("file") { certificate.certificateFile = resolved($0) }
        section.read("key_file") { certificate.keyFile = resolved($0) }
        section.read("password_file") { certificate.passwordFile = resolved($0) }
        return certificate
    }
}
