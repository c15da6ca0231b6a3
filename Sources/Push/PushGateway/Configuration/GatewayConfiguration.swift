import APNSWire
package import PushAccept
package import PushDispatch
package import PushModel

/// Everything a gateway needs to know, as plain values. `GatewayConfiguration+YAML.swift` reads it from a file.
package struct GatewayConfiguration: Sendable {
    package var listen = Listen()
    /// Folder of the embedded database; created when it is missing.
    package var storePath = "godwit-data"
    package var apps: [App] = []
    package var delivery = DispatchConfiguration()
    /// On the way to APNs, for all apps; nil connects directly.
    package var proxy: Proxy?
    /// Connections to APNs for each app; there are as many as are of use.
    package var connectionsMax = 128
    package var logLevel = "info"
    /// How long a gateway that was asked to stop goes on serving while it says that it is not ready.
    package var shutdownGrace: Duration = .seconds(5)
    /// How long a stop waits for pushes in flight. With the grace period, the requests' patience and the last write it
    /// stays below the 30 seconds that supervisors give a process by default.
    package var drainTimeout: Duration = .seconds(10)
    /// How long outcomes are kept.
    package var retention: Duration = .seconds(7 * 24 * 3600)
    /// How much each caller may ask for, and how often one device may be sent to.
    package var limits = RateLimits()
    /// Largest body of a bulk request with an `Idempotency-Key`, which is held whole, in MiB.
    package var idempotentBodyMaxMiB = 8
    /// What such bodies may take together, in MiB.
    package var idempotentBodiesMaxMiB = 64
    /// When new pushes are refused because something is short.
    package var admission = AdmissionLimits()
    /// Take the store from a process that holds it and has shown no life for three leases.
    package var takesOver = false

    package init() {}

    package struct Listen: Sendable, Equatable {
        package var host = "127.0.0.1"
        package var port = 8025

        package init() {}
    }

    /// A bundle ID with its environment and its credential.
    package struct App: Sendable, Equatable {
        /// What pushes call it; the bundle ID unless another name is given.
        package var name: String
        package var bundleID: String
        package var environment: Environment
        package var credential: Credential
        /// nil: Apple's host of the environment.
        package var endpoint: Endpoint?
        /// Pushes a second to APNs at most; nil: as many as it takes.
        package var rate: Int?

        package init(
            name: String, bundleID: String, environment: Environment, credential: Credential, endpoint: Endpoint? = nil
        ) {
            self.name = name
            self.bundleID = bundleID
            self.environment = environment
            self.credential = credential
            self.endpoint = endpoint
        }
    }

    package enum Environment: String, Sendable, CaseIterable {
        case production, sandbox
    }

    /// Who an app is to APNs.
    package enum Credential: Sendable, Equatable {
        case key(Key)
        case certificate(Certificate)
    }

    /// A TLS client certificate: a PKCS#12 file, or PEM files of certificate and key.
    package struct Certificate: Sendable, Equatable {
        package var p12File: String?
        package var certificateFile: String?
        package var keyFile: String?
        /// Path of a file whose first line is the password; nil when there is none.
        package var passwordFile: String?

        package init() {}
    }

    /// An HTTP proxy on the way to APNs.
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

    /// Where APNs, or a simulator of it, listens.
    package struct Endpoint: Sendable, Equatable {
        package var host: String
        package var port: Int
        /// Path of a PEM file with the roots to trust; nil: the system's.
        package var caFile: String?

        package init(host: String, port: Int, caFile: String? = nil) {
            self.host = host
            self.port = port
            self.caFile = caFile
        }
    }

    /// Every problem at once, so that an operator fixes the file in one go.
    package func problems() -> [String] { locatedProblems().map(\.text) }

    /// The same with the key, or the section, that each is about.
    func locatedProblems() -> [(place: String, text: String)] {
        var problems: [(place: String, text: String)] = []
        func demand(_ condition: Bool, _ place: String, _ text: String) {
            if !condition { problems.append((place, text)) }
        }
        demand((0...65535).contains(listen.port), "listen.port", "listen.port must be 0 to 65535")
        demand(!listen.host.isEmpty, "listen.host", "listen.host must not be empty")
        demand(!storePath.isEmpty, "store.path", "store.path must not be empty")
        demand(retention >= .seconds(3600), "store.retention", "store.retention must be at least 1h")
        demand(!apps.isEmpty, "apps", "apps must name at least one app")
        var names: Set<String> = []
        for (index, app) in apps.enumerated() {
            let (place, name) = ("apps[\(index)]", "app \"\(app.name)\"")
            demand(names.insert(app.name).inserted, place, "\(name) is defined twice")
            problems += app.problems().map { (place, "\(name): \($0)") }
        }
        if let proxy {
            demand(!proxy.host.isEmpty, "apns.proxy.host", "apns.proxy.host must not be empty")
            demand((1...65535).contains(proxy.port), "apns.proxy.port", "apns.proxy.port must be 1 to 65535")
            demand(
                (proxy.user == nil) == (proxy.passwordFile == nil), "apns.proxy",
                "apns.proxy needs both user and password_file, or neither"
            )
        }
        demand(
            (1...1000).contains(connectionsMax), "apns.connections_max", "apns.connections_max must be 1 to 1000"
        )
        demand(
            Self.logLevels.contains(logLevel), "log.level",
            "log.level must be one of \(Self.logLevels.joined(separator: ", "))"
        )
        demand(shutdownGrace <= .seconds(300), "shutdown.grace", "shutdown.grace must be at most 5m")
        demand(drainTimeout <= .seconds(300), "delivery.drain_timeout", "delivery.drain_timeout must be at most 5m")
        problems += admission.problems().map { ("admission", $0) }
        demand(
            (1...256).contains(idempotentBodyMaxMiB), "limits.idempotent_body_max_mib",
            "limits.idempotent_body_max_mib must be 1 to 256"
        )
        demand(
            idempotentBodyMaxMiB <= idempotentBodiesMaxMiB && idempotentBodiesMaxMiB <= 65_536,
            "limits.idempotent_bodies_max_mib",
            "limits.idempotent_bodies_max_mib must be at least limits.idempotent_body_max_mib, and at most 65536"
        )
        problems += limits.problems().map { ("limits", $0) }
        return problems + delivery.problems().map { ("delivery", "delivery: \($0)") }
    }

    /// Apple, "CFBundleIdentifier": letters, digits, hyphens and periods.
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
        if let rate, !(1...1_000_000).contains(rate) { problems.append("rate must be 1 to 1000000 pushes a second") }
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

/// The configuration cannot be used. Its description lists every problem, one a line.
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
