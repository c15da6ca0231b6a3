import APNSWire
import Foundation
import PushAccept
import PushDispatch
import PushModel
import PushStore
import Yams

extension GatewayConfiguration {
    /// Reads a configuration file. `docs/reference/configuration.md` lists the keys and their defaults. Relative paths
    /// in the file are resolved against its folder.
    ///
    /// - Throws: `ConfigurationError` with every problem, each with its line.
    package static func read(path: String) throws(ConfigurationError) -> GatewayConfiguration {
        try read(path: path, isChecked: false) { _ in }.configuration
    }

    /// Reads a configuration file, and checks the files and folders that it names as a start needs them: keys, certificates,
    /// passwords, roots and the folder of the store. Nothing is changed.
    ///
    /// - Parameter override: changes values that the command line sets.
    /// - Returns: the configuration, and what does not prevent a start, each with its line.
    /// - Throws: `ConfigurationError` with every problem of the file and of the files that it names, each with its line.
    package static func check(
        path: String, override: (inout GatewayConfiguration) -> Void = { _ in }
    ) throws(ConfigurationError) -> (configuration: GatewayConfiguration, warnings: [String]) {
        try read(path: path, isChecked: true, override)
    }

    private static func read(
        path: String, isChecked: Bool, _ override: (inout GatewayConfiguration) -> Void
    ) throws(ConfigurationError) -> (configuration: GatewayConfiguration, warnings: [String]) {
        let text: String
        do throws(UnreadableFile) {
            text = try TextFile.read(path)
        } catch {
            throw ConfigurationError(file: path, problems: ["the file cannot be read: \(error)"])
        }
        let folder = (path as NSString).deletingLastPathComponent
        return try parse(text, file: path, folder: folder, isChecked: isChecked, override)
    }

    /// Parses the text of a configuration file. Relative paths are resolved against `folder`.
    ///
    /// - Parameter file: the name of the file in the error.
    /// - Throws: `ConfigurationError` with every problem, each with its line.
    package static func parse(
        _ text: String, file: String, folder: String
    ) throws(ConfigurationError) -> GatewayConfiguration {
        try parse(text, file: file, folder: folder, isChecked: false) { _ in }.configuration
    }

    private static func parse(
        _ text: String, file: String, folder: String, isChecked: Bool, _ override: (inout GatewayConfiguration) -> Void
    ) throws(ConfigurationError) -> (configuration: GatewayConfiguration, warnings: [String]) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw ConfigurationError(file: file, problems: ["not YAML: \(problem(of: error))"])
        }
        var configuration = GatewayConfiguration()
        var reader = YAMLReader(root)
        configuration.fill(from: &reader, folder: folder)
        override(&configuration)
        var located = configuration.locatedProblems()
        var warnings: [FileCheck.Finding] = []
        if isChecked {
            let check = FileCheck(
                configuration, isKeyOfFile: { reader.lines[$0] != nil }, now: QueueClock.system.wall())
            located += check.problems
            warnings = check.warnings
        }
        let problems = Self.sorted(located, with: reader)
        guard problems.isEmpty else { throw ConfigurationError(file: file, problems: problems) }
        return (configuration, Self.sorted(warnings, with: reader))
    }

    /// The problems of the reader and `located` in the order of the file, without those that result from a value that could
    /// not be read.
    private static func sorted(_ located: [(path: String, text: String)], with reader: YAMLReader) -> [String] {
        let unread = reader.problems.filter { !$0.isUnknownKey }.map(\.path)
        func isUnread(_ path: String) -> Bool {
            unread.contains { other in
                other == path || other.hasPrefix(path + ".") || other.hasPrefix(path + "[")
                    || path.hasPrefix(other + ".") || other.isEmpty
            }
        }
        let values = located.filter { !isUnread($0.path) }.map { problem in
            // A key that is not in the file has the line of the innermost section that is.
            var path = problem.path[...]
            while reader.lines[String(path)] == nil, let end = path.lastIndex(of: ".") { path = path[..<end] }
            let line = reader.lines[String(path)]
            return YAMLReader.Problem(path: problem.path, line: line, text: problem.text)
        }
        let all = (reader.problems + values).enumerated()
        return all.sorted { ($0.element.line ?? .max, $0.offset) < ($1.element.line ?? .max, $1.offset) }
            .map(\.element.description)
    }

    /// The description of an error without the part of the file that Yams quotes: it may hold a password.
    private static func problem(of error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            "line \(mark.line): \(problem)" + (context.map { " \($0.text) in line \($0.mark.line)" } ?? "")
        case .reader(let problem, _, _, _): problem
        case .duplicatedKeysInMapping(let names, let context):
            "line \(context.mark.line): given twice: \(names.joined(separator: ", "))"
        default: "it cannot be parsed"
        }
    }

    private mutating func fill(from reader: inout YAMLReader, folder: String) {
        func resolved(_ path: String) -> String {
            if path.hasPrefix("~") { return (try? UserPath.expanded(path)) ?? path }
            return path.hasPrefix("/") || folder.isEmpty ? path : (folder as NSString).appendingPathComponent(path)
        }
        fillListen(from: &reader)
        fillHTTP(from: &reader)
        fillStore(from: &reader, resolved)
        reader.list("apps") { apps.append(Self.app(from: &$0, resolved)) }
        fillAPNS(from: &reader, resolved)
        fillDelivery(from: &reader)
        fillLimits(from: &reader)
        fillAdmission(from: &reader)
        fillShutdown(from: &reader)
        fillLog(from: &reader)
        reader.finish()
    }

    // MARK: Sections

    private mutating func fillListen(from reader: inout YAMLReader) {
        reader.section("listen") { section in
            section.read("host") { listen.host = $0 }
            section.read("port") { listen.port = $0 }
        }
    }

    private mutating func fillHTTP(from reader: inout YAMLReader) {
        reader.section("http") { section in
            section.readTexts("hosts") { http.hosts = $0 }
            section.readTexts("trusted_proxies") { http.trustedProxies = $0 }
        }
    }

    private mutating func fillStore(from reader: inout YAMLReader, _ resolved: (String) -> String) {
        reader.section("store") { section in
            section.read("path") { storePath = $0 }
            section.readDuration("retention") { retention = $0 }
        }
        storePath = resolved(storePath)
    }

    private mutating func fillAPNS(from reader: inout YAMLReader, _ resolved: (String) -> String) {
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
    }

    private mutating func fillDelivery(from reader: inout YAMLReader) {
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
            section.readDuration("credential_probe") { delivery.credential.probeCap = $0 }
            section.read("retry_budget_per_second") { (rate: Int) in delivery.retryBudget.perSecond = Double(rate) }
            section.read("retry_budget_burst") { (count: Int) in delivery.retryBudget.burst = Double(count) }
            section.readDuration("lifetime") { delivery.policy.lifetime = $0 }
            section.readDuration("urgent_lifetime") { delivery.policy.urgentLifetime = $0 }
            section.readDuration("immediate_lifetime") { delivery.policy.immediateLifetime = $0 }
            section.readDuration("drain_timeout") { drainTimeout = $0 }
        }
    }

    private mutating func fillLimits(from reader: inout YAMLReader) {
        reader.section("limits") { section in
            section.readRateLimit("push", into: &limits.push)
            section.readRateLimit("batch", into: &limits.batch)
            section.readRateLimit("status", into: &limits.status)
            section.readRateLimit("control", into: &limits.control)
            section.read("idempotent_body_max_mib") { idempotentBodyMaxMiB = $0 }
            section.read("idempotent_bodies_max_mib") { idempotentBodiesMaxMiB = $0 }
            section.read("connections_max") { clientConnections.max = $0 }
            section.read("connections_per_client") { clientConnections.perClient = $0 }
            section.read("connections_reserve") { clientConnections.reserve = $0 }
            section.read("held_max_mib") { heldMaxMiB = $0 }
            section.read("stored_responses_max") { storedResponsesMax = $0 }
            section.read("stored_responses_max_mib") { storedResponsesMaxMiB = $0 }
            section.section("device") { section in
                var count = 10
                var period = Duration.seconds(60)
                section.read("count") { count = $0 }
                section.readDuration("per") { period = $0 }
                limits.device = count == 0 ? nil : RateLimit(count, in: period)
            }
        }
    }

    private mutating func fillAdmission(from reader: inout YAMLReader) {
        reader.section("admission") { section in
            section.read("queued_pushes_max") { admission.queuedPushesMax = $0 == 0 ? nil : $0 }
            section.read("disk_free_min_mib") { admission.bytesFreeMin = $0 == 0 ? nil : min($0, 1 << 40) << 20 }
            section.readDuration("oldest_due_max") { admission.oldestDueMax = $0 == .zero ? nil : $0 }
            section.read("memory_max_mib") { admission.memoryBytesMax = $0 == 0 ? nil : min($0, 1 << 40) << 20 }
        }
    }

    private mutating func fillShutdown(from reader: inout YAMLReader) {
        reader.section("shutdown") { section in
            section.readDuration("grace") { shutdownGrace = $0 }
        }
    }

    private mutating func fillLog(from reader: inout YAMLReader) {
        reader.section("log") { section in
            section.read("level") { logLevel = $0 }
        }
    }

    // MARK: Apps

    private static func app(from item: inout YAMLReader, _ resolved: (String) -> String) -> App {
        var app = App(name: "", bundleID: "", environments: [])
        item.readRequired("bundle_id") { app.bundleID = $0 }
        app.name = app.bundleID
        item.read("name") { app.name = $0 }
        var environment = APNSEnvironment.production
        item.read("environment", oneOf: Self.environments.map(\.label)) {
            environment = APNSEnvironment(label: $0) ?? environment
        }
        let shared = settings(from: &item, resolved)
        var own: [APNSEnvironment: PartialSettings] = [environment: PartialSettings()]
        item.section("environments") { section in
            for name in Self.environments {
                section.section(name.label) { section in
                    let settings = settings(from: &section, resolved)
                    own[name] = settings
                    // The host of one environment is wrong for the other.
                    if name != environment, settings.endpoint == nil, shared.endpoint != nil {
                        section.reportMissing(
                            ["endpoint"], ", because the app's endpoint is for \(environment.label) only")
                    }
                }
            }
        }
        for (name, settings) in own.sorted(by: { $0.key == environment && $1.key != environment }) {
            guard let credential = settings.credential ?? shared.credential else {
                item.reportMissing(
                    ["key", "certificate"], own.count == 1 ? "" : ", because \(name.label) has none of its own")
                continue
            }
            app.environments.append(
                EnvironmentSettings(
                    name, credential: credential,
                    endpoint: settings.endpoint ?? (name == environment ? shared.endpoint : nil),
                    rate: settings.rate ?? shared.rate
                )
            )
        }
        return app
    }

    /// In the order of the documentation.
    private static let environments: [APNSEnvironment] = [.production, .sandbox]

    /// The settings that an app has for all of its environments, or for one of them.
    private struct PartialSettings {
        var credential: Credential?
        var endpoint: Endpoint?
        var rate: Int?
    }

    private static func settings(from item: inout YAMLReader, _ resolved: (String) -> String) -> PartialSettings {
        var settings = PartialSettings()
        item.read("rate") { settings.rate = $0 }
        item.section(oneOf: ["key", "certificate"]) { kind, section in
            settings.credential =
                kind == "key"
                ? .key(Self.key(from: &section, resolved))
                : .certificate(Self.certificate(from: &section, resolved))
        }
        item.section("endpoint") { section in
            var endpoint = Endpoint(host: "", port: 443)
            section.readRequired("host") { endpoint.host = $0 }
            section.read("port") { endpoint.port = $0 }
            section.read("ca_file") { endpoint.caFile = resolved($0) }
            settings.endpoint = endpoint
        }
        return settings
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

extension YAMLReader {
    /// Reads requests per second of each caller and their burst. A rate of 0 removes the limit.
    fileprivate mutating func readRateLimit(_ key: String, into limit: inout RateLimit?) {
        section(key) { section in
            var rate = limit.map { Int($0.perSecond) } ?? 0
            var burst: Int?
            section.read("rate") { rate = $0 }
            section.read("burst") { burst = $0 }
            limit = rate == 0 ? nil : RateLimit(perSecond: Double(rate), burst: burst ?? 2 * rate)
        }
    }
}
