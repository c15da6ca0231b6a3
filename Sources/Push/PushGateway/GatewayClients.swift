package import APNSKit
import Foundation
package import Logging
import NIOPosix
package import PushModel

/// Creates the APNs clients of a gateway: one for each credential and endpoint, shared by all environments of apps that use
/// both.
///
/// Connections never mix teams, and the number of connections does not depend on the number of apps. Clients with the same
/// signing key share its provider token, because APNs limits how often the token of a key may change.
package struct GatewayClients {
    /// What the apps of one client have in common.
    private struct Identity: Hashable {
        var credential: GatewayConfiguration.Credential
        var endpoint: APNSClientConfiguration.Endpoint
        var caFile: String?
    }

    private let configuration: GatewayConfiguration
    private let logger: Logger
    private var clients: [Identity: APNSClient] = [:]
    private var sources: [GatewayConfiguration.Key: ProviderTokenSource] = [:]
    private var certificates: [GatewayConfiguration.Certificate: APNSCertificate] = [:]

    /// - Throws: `ConfigurationError` that names the app.
    package static func make(
        _ configuration: GatewayConfiguration, logger: Logger
    ) throws -> [AppEnvironment: APNSClient] {
        var clients = GatewayClients(configuration: configuration, logger: logger)
        var byApp: [AppEnvironment: APNSClient] = [:]
        for (id, app, settings) in configuration.appEnvironments {
            do {
                byApp[id] = try clients.client(of: app, settings)
            } catch {
                throw ConfigurationError(file: "app \"\(app.name)\"", problems: ["\(error)"])
            }
        }
        return byApp
    }

    private init(configuration: GatewayConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    private mutating func client(
        of app: GatewayConfiguration.App, _ settings: GatewayConfiguration.EnvironmentSettings
    ) throws -> APNSClient {
        let credential = try credential(settings.credential, of: app)
        let identity = Identity(
            credential: settings.credential, endpoint: settings.apnsEndpoint, caFile: settings.endpoint?.caFile
        )
        if let client = clients[identity] { return client }
        var client = APNSClientConfiguration(endpoint: settings.apnsEndpoint, credential: credential)
        if let file = settings.endpoint?.caFile {
            try Self.requireText(file, as: "endpoint.ca_file")
            client.trustRoots = .file(file)
        }
        client.proxy = try configuration.proxy.map(Self.proxy)
        client.connectionsMax = configuration.connectionsMax
        client.outageTolerance = .seconds(1)
        client.logger = logger
        let made = try APNSClient(configuration: client, eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
        clients[identity] = made
        return made
    }

    private mutating func credential(
        _ credential: GatewayConfiguration.Credential, of app: GatewayConfiguration.App
    ) throws -> APNSCredential {
        switch credential {
        case .key(let key):
            if let source = sources[key] { return .token(source) }
            let source = ProviderTokenSource(
                key: try ProviderTokenKey(file: key.file, keyID: key.keyID, teamID: key.teamID)
            )
            sources[key] = source
            return .token(source)
        case .certificate(let files):
            let certificate = try certificates[files] ?? Self.certificate(from: files)
            certificates[files] = certificate
            Self.logExpiry(of: certificate, app: app, logger)
            return .certificate(certificate)
        }
    }

    private static func certificate(from files: GatewayConfiguration.Certificate) throws -> APNSCertificate {
        let password = try files.passwordFile.map(firstLine)
        if let file = files.p12File { return try APNSCertificate(p12File: file, password: password ?? "") }
        return try APNSCertificate(
            certificateFile: files.certificateFile ?? "", keyFile: files.keyFile ?? "", password: password
        )
    }

    /// Logs until when the certificate is valid: APNs refuses an expired one without a grace period.
    private static func logExpiry(
        of certificate: APNSCertificate, app: GatewayConfiguration.App, _ logger: Logger
    ) {
        let days = Int(certificate.notAfter.timeIntervalSinceNow / 86_400)
        let metadata: Logger.Metadata = [
            "app": "\(app.name)", "certificate.expires": "\(certificate.notAfter)", "certificate.days": "\(days)",
            "certificate.topics": "\(certificate.topics.joined(separator: " "))",
        ]
        if certificate.notAfter.timeIntervalSinceNow < 0 {
            logger.error("certificate is expired", metadata: metadata)
        } else if days < 30 {
            logger.warning("certificate expires soon", metadata: metadata)
        } else {
            logger.info("certificate loaded", metadata: metadata)
        }
        guard !certificate.topics.isEmpty, !certificate.topics.contains(app.bundleID) else { return }
        logger.warning("certificate does not list the app's bundle ID", metadata: metadata)
    }

    private static func proxy(_ proxy: GatewayConfiguration.Proxy) throws -> APNSClientConfiguration.Proxy {
        guard let user = proxy.user, let file = proxy.passwordFile else {
            return .init(host: proxy.host, port: proxy.port)
        }
        return .init(host: proxy.host, port: proxy.port, user: user, password: try firstLine(of: file))
    }

    /// Checks the file first, because the error of the TLS library for a missing file is not readable.
    private static func requireText(_ file: String, as key: String) throws {
        do throws(UnreadableFile) {
            _ = try TextFile.read(file)
        } catch {
            throw ConfigurationError(file: "\(key) \(file)", problems: ["the file cannot be read: \(error)"])
        }
    }

    private static func firstLine(of file: String) throws -> String {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            throw ConfigurationError(file: file, problems: ["the password file cannot be read"])
        }
        // In Swift, "\r\n" is one character and not equal to "\n".
        return text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).first.map(String.init) ?? ""
    }
}
