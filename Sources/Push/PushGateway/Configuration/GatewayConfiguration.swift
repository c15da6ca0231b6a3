package import APNSWire
package import PushAccept
package import PushDispatch
package import PushModel

/// The configuration of a gateway. `GatewayConfiguration+YAML.swift` reads it from a file.
package struct GatewayConfiguration: Sendable {
    package var listen = Listen()
    package var http = HTTP()
    /// Folder of the embedded database; created if it is missing.
    package var storePath = "godwit-data"
    package var apps: [App] = []
    package var delivery = DispatchConfiguration()
    /// The HTTP proxy for connections to APNs, for all apps; nil connects directly.
    package var proxy: Proxy?
    /// Upper limit of connections to APNs for each app. The client opens only as many as raise the throughput.
    package var connectionsMax = 128
    package var logLevel = "info"
    /// How long a gateway that is stopping still serves while it reports that it is not ready.
    package var shutdownGrace: Duration = .seconds(5)
    /// How long a stop waits for pushes in flight. Together with the grace period, the timeout for requests in progress
    /// and the last write it stays below 30 seconds, a common default of process supervisors.
    package var drainTimeout: Duration = .seconds(10)
    /// How long outcomes and dead letters are kept.
    package var retention: Duration = .seconds(7 * 24 * 3600)
    /// Rate limits of callers and devices.
    package var limits = RateLimits()
    /// Largest body of a bulk request with an `Idempotency-Key`, which is held in memory, in MiB.
    package var idempotentBodyMaxMiB = 8
    /// Memory for all such bodies, in MiB.
    package var idempotentBodiesMaxMiB = 64
    /// Limits of open connections of clients.
    package var clientConnections = ConnectionLimits()
    /// Memory for requests, results and responses that connections hold, in MiB.
    package var heldMaxMiB = 128
    /// Stored responses of requests with an `Idempotency-Key`.
    package var storedResponsesMax = 1_000_000
    /// Their size, in MiB.
    package var storedResponsesMaxMiB = 1024
    /// Limits above which new pushes are refused.
    package var admission = AdmissionLimits()
    /// Whether to take the store from a process whose heartbeat has been stale for three leases.
    package var takesOver = false
    /// Whether to open the store although acknowledged writes are missing in it.
    package var acceptsLoss = false

    package init() {}

    package struct Listen: Sendable, Equatable {
        package var host = "127.0.0.1"
        package var port = 8025

        package init() {}
    }

    /// The names of this server and the proxies in front of it.
    package struct HTTP: Sendable, Equatable {
        /// Names of this server. On a listener on loopback, in addition to the loopback names.
        package var hosts: [String] = []
        /// Addresses and ranges of proxies that state the address of the client.
        package var trustedProxies: [String] = []

        package init() {}

        fileprivate func problems() -> [(path: String, text: String)] {
            let names = hosts.enumerated().filter { !Self.isName($0.element) }.map { index, _ in
                ("http.hosts", "http.hosts[\(index)] must be a host name without scheme and port")
            }
            let ranges = trustedProxies.enumerated().filter { AddressRange($0.element) == nil }.map { index, _ in
                (
                    "http.trusted_proxies",
                    "http.trusted_proxies[\(index)] must be an address or a range such as 10.0.0.0/8"
                )
            }
            let counts = [("http.hosts", hosts.count), ("http.trusted_proxies", trustedProxies.count)]
            return names + ranges
                + counts.filter { $0.1 > 100 }.map { ($0.0, "\($0.0) must have at most 100 elements") }
        }

        private static func isName(_ text: String) -> Bool {
            (1...253).contains(text.utf8.count)
                && text.utf8.allSatisfy { byte in
                    switch byte {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"):
                        true
                    default: "-._".utf8.contains(byte)
                    }
                }
        }
    }

    /// A bundle ID with a credential for each of its environments.
    package struct App: Sendable, Equatable {
        /// The value of the `app` field of pushes; the bundle ID by default.
        package var name: String
        package var bundleID: String
        /// At least one, each at most once. The first is the environment of pushes that name none.
        package var environments: [EnvironmentSettings]

        package init(name: String, bundleID: String, environments: [EnvironmentSettings]) {
            self.name = name
            self.bundleID = bundleID
            self.environments = environments
        }
    }

    /// How the pushes of an app are sent in one environment.
    package struct EnvironmentSettings: Sendable, Equatable {
        package var environment: APNSEnvironment
        package var credential: Credential
        /// nil: Apple's host of the environment.
        package var endpoint: Endpoint?
        /// Upper limit of pushes per second to APNs; nil: no limit.
        package var rate: Int?

        package init(
            _ environment: APNSEnvironment, credential: Credential, endpoint: Endpoint? = nil, rate: Int? = nil
        ) {
            self.environment = environment
            self.credential = credential
            self.endpoint = endpoint
            self.rate = rate
        }
    }

    /// How an app authenticates to APNs.
    package enum Credential: Sendable, Hashable {
        case key(Key)
        case certificate(Certificate)
    }

    /// A TLS client certificate: a PKCS#12 file, or PEM files of certificate and key.
    package struct Certificate: Sendable, Hashable {
        package var p12File: String?
        package var certificateFile: String?
        package var keyFile: String?
        /// Path of a file whose first line is the password; nil without a password.
        package var passwordFile: String?

        package init() {}
    }

    /// An HTTP proxy for connections to APNs.
    package struct Proxy: Sendable, Equatable {
        package var host: String
        package var port: Int
        package var user: String?
        /// Path of a file whose first line is the password.
        package var passwordFile: String?

        package init(host: String, port: Int, user: String? = nil, passwordFile: String? = nil) {
            self.host = host
            self.port = port
            self.user = user
            self.passwordFile = passwordFile
        }
    }

    /// A provider signing key.
    package struct Key: Sendable, Hashable {
        /// Path of the `.p8` file.
        package var file: String
        package var keyID: String
        package var teamID: String

        package init(file: String, keyID: String, teamID: String) {
            self.file = file
            self.keyID = keyID
            self.teamID = teamID
        }
    }

    /// The address of APNs or of a simulator.
    package struct Endpoint: Sendable, Equatable {
        package var host: String
        package var port: Int
        /// Path of a PEM file with the roots to trust; nil: the roots of the system.
        package var caFile: String?

        package init(host: String, port: Int, caFile: String? = nil) {
            self.host = host
            self.port = port
            self.caFile = caFile
        }
    }

    /// All problems, so that an operator can fix the file in one step.
    package func problems() -> [String] { locatedProblems().map(\.text) }

    /// All problems, each with the path of its key or section.
    func locatedProblems() -> [(path: String, text: String)] {
        var problems: [(path: String, text: String)] = []
        func require(_ condition: Bool, _ path: String, _ text: String) {
            if !condition { problems.append((path, text)) }
        }
        require((0...65535).contains(listen.port), "listen.port", "listen.port must be 0 to 65535")
        require(!listen.host.isEmpty, "listen.host", "listen.host must not be empty")
        problems += http.problems()
        require(!storePath.isEmpty, "store.path", "store.path must not be empty")
        for (path, name, file) in files {
            // Every other ~ was replaced.
            require(
                !file.hasPrefix("~"), path, "\(name) must not start with '~', which stands for no home folder here")
        }
        require(retention >= .seconds(3600), "store.retention", "store.retention must be at least 1h")
        require(!apps.isEmpty, "apps", "apps must have at least one app")
        var names: Set<String> = []
        for (index, app) in apps.enumerated() {
            let (path, name) = ("apps[\(index)]", "app \"\(app.name)\"")
            require(names.insert(app.name).inserted, path, "\(name) is defined twice")
            problems += app.problems().map { (path, "\(name): \($0)") }
        }
        if let proxy {
            require(!proxy.host.isEmpty, "apns.proxy.host", "apns.proxy.host must not be empty")
            require((1...65535).contains(proxy.port), "apns.proxy.port", "apns.proxy.port must be 1 to 65535")
            require(
                (proxy.user == nil) == (proxy.passwordFile == nil), "apns.proxy",
                "apns.proxy needs both user and password_file, or neither"
            )
        }
        require(
            (1...1000).contains(connectionsMax), "apns.connections_max", "apns.connections_max must be 1 to 1000"
        )
        require(
            Self.logLevels.contains(logLevel), "log.level",
            "log.level must be one of \(Self.logLevels.joined(separator: ", "))"
        )
        require(shutdownGrace <= .seconds(300), "shutdown.grace", "shutdown.grace must be at most 5m")
        require(drainTimeout <= .seconds(300), "delivery.drain_timeout", "delivery.drain_timeout must be at most 5m")
        problems += admission.problems().map { ("admission", $0) }
        require(
            (1...256).contains(idempotentBodyMaxMiB), "limits.idempotent_body_max_mib",
            "limits.idempotent_body_max_mib must be 1 to 256"
        )
        require(
            idempotentBodyMaxMiB <= idempotentBodiesMaxMiB && idempotentBodiesMaxMiB <= 65_536,
            "limits.idempotent_bodies_max_mib",
            "limits.idempotent_bodies_max_mib must be at least limits.idempotent_body_max_mib, and at most 65536"
        )
        require((16...65_536).contains(heldMaxMiB), "limits.held_max_mib", "limits.held_max_mib must be 16 to 65536")
        require(
            (1...100_000_000).contains(storedResponsesMax), "limits.stored_responses_max",
            "limits.stored_responses_max must be 1 to 100000000"
        )
        require(
            (1...1_048_576).contains(storedResponsesMaxMiB), "limits.stored_responses_max_mib",
            "limits.stored_responses_max_mib must be 1 to 1048576"
        )
        problems += clientConnections.problems().map { ("limits", $0) }
        problems += limits.problems().map { ("limits", $0) }
        return problems + delivery.problems().map { ("delivery", "delivery: \($0)") }
    }

    /// Each file and folder, with the path of its key or section, and a name for people.
    private var files: [(path: String, name: String, file: String)] {
        var files = [("store.path", "store.path", storePath)]
        if let file = proxy?.passwordFile {
            files.append(("apns.proxy.password_file", "apns.proxy.password_file", file))
        }
        for (index, app) in apps.enumerated() {
            for settings in app.environments {
                let own: [String?] =
                    switch settings.credential {
                    case .key(let key): [key.file]
                    case .certificate(let certificate):
                        [
                            certificate.p12File, certificate.certificateFile, certificate.keyFile,
                            certificate.passwordFile,
                        ]
                    }
                files += (own + [settings.endpoint?.caFile]).compactMap { $0 }
                    .map { ("apps[\(index)]", "app \"\(app.name)\": a path", $0) }
            }
        }
        return files
    }

    /// Letters, digits, hyphens and periods, according to Apple's page "CFBundleIdentifier".
    fileprivate static func isBundleID(_ text: String) -> Bool {
        (1...155).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }

    package static let logLevels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
}

extension GatewayConfiguration.App {
    fileprivate func problems() -> [String] {
        var problems: [String] = []
        if !GatewayConfiguration.isBundleID(bundleID) {
            problems.append("bundle_id must be 1 to 155 letters, digits, hyphens and periods")
        }
        for (index, settings) in environments.enumerated() {
            let prefix = index == 0 ? "" : "environments.\(settings.environment.label): "
            // A value that several environments share is reported once.
            let own = settings.problems().filter { !problems.contains($0) }
            problems += own.map { prefix + $0 }
        }
        return problems
    }
}

extension GatewayConfiguration.EnvironmentSettings {
    fileprivate func problems() -> [String] {
        var problems: [String] = []
        if let rate, !(1...1_000_000).contains(rate) { problems.append("rate must be 1 to 1000000 pushes per second") }
        problems += credential.problems()
        if let endpoint {
            if endpoint.host.isEmpty { problems.append("endpoint.host must not be empty") }
            if !(1...65535).contains(endpoint.port) { problems.append("endpoint.port must be 1 to 65535") }
        }
        return problems
    }
}

extension GatewayConfiguration.Credential {
    fileprivate func problems() -> [String] {
        switch self {
        case .key(let key):
            return (key.keyID.utf8.count == 10 ? [] : ["key.key_id must have 10 characters"])
                + (key.teamID.utf8.count == 10 ? [] : ["key.team_id must have 10 characters"])
        case .certificate(let certificate):
            let isPKCS12 =
                certificate.p12File != nil && certificate.certificateFile == nil && certificate.keyFile == nil
            let isPEM = certificate.p12File == nil && certificate.certificateFile != nil && certificate.keyFile != nil
            return isPKCS12 || isPEM ? [] : ["certificate needs p12_file, or file and key_file"]
        }
    }
}

/// The problems of a configuration. The description lists all of them, one per line.
package struct ConfigurationError: Error, CustomStringConvertible {
    package var file: String
    package var problems: [String]

    package init(file: String, problems: [String]) {
        self.file = file
        self.problems = problems
    }

    package var description: String {
        problems.count == 1
            ? "\(file): \(problems[0])"
            : "\(file) has \(problems.count) problems:\n" + problems.map { "  - \($0)" }.joined(separator: "\n")
    }
}
