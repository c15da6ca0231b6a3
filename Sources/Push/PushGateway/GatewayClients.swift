import APNSKit
import Foundation
import Logging
import NIOPosix
import PushModel

/// Makes the clients of a gateway, one for each app: a connection never mixes teams, and one app's fault never stops
/// another's pushes. Apps with the same signing key share its provider token, as APNs wants it.
enum GatewayClients {
    /// - Throws: `ConfigurationError` that names the app.
    static func make(_ configuration: GatewayConfiguration, logger: Logger) throws -> [AppID: APNSClient] {
        var sources: [GatewayConfiguration.Key: ProviderTokenSource] = [:]
        var clients: [AppID: APNSClient] = [:]
        for app in configuration.apps {
            do {
                let credential = try credential(of: app, &sources, logger)
                var client = APNSClientConfiguration(endpoint: app.apnsEndpoint, credential: credential)
                if let file = app.endpoint?.caFile {
                    try demandText(file, as: "endpoint.ca_file")
                    client.trustRoots = .file(file)
                }
                client.proxy = try configuration.proxy.map(proxy)
                client.connectionsMax = configuration.connectionsMax
                client.logger = logger
                clients[AppID(app.name)] = try APNSClient(
                    configuration: client, eventLoopGroup: MultiThreadedEventLoopGroup.singleton
                )
            } catch {
                throw ConfigurationError(file: "app \"\(app.name)\"", problems: ["\(error)"])
            }
        }
        return clients
    }

    private static func credential(
        of app: GatewayConfiguration.App, _ sources: inout [GatewayConfiguration.Key: ProviderTokenSource],
        _ logger: Logger
    ) throws -> APNSCredential {
        switch app.credential {
        case .key(let key):
            if let source = sources[key] { return .token(source) }
            let source = ProviderTokenSource(
                key: try ProviderTokenKey(file: key.file, keyID: key.keyID, teamID: key.teamID)
            )
            sources[key] = source
            return .token(source)
        case .certificate(let files):
            let certificate = try certificate(from: files)
            tell(certificate, of: app, logger)
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

    /// APNs has no grace for a certificate that has run out: who reads the log at the start should know.
    private static func tell(_ certificate: APNSCertificate, of app: GatewayConfiguration.App, _ logger: Logger) {
        let days = Int(certificate.notAfter.timeIntervalSinceNow / 86_400)
        let metadata: Logger.Metadata = [
            "app": "\(app.name)", "expires": "\(certificate.notAfter)", "days": "\(days)",
            "topics": "\(certificate.topics.joined(separator: " "))",
        ]
        if certificate.notAfter.timeIntervalSinceNow < 0 {
            logger.error("certificate has expired", metadata: metadata)
        } else if days < 30 {
            logger.warning("certificate to be renewed", metadata: metadata)
        } else {
            logger.info("certificate loaded", metadata: metadata)
        }
        guard !certificate.topics.isEmpty, !certificate.topics.contains(app.bundleID) else { return }
        logger.warning("the certificate does not list the app's bundle ID", metadata: metadata)
    }

    private static func proxy(_ proxy: GatewayConfiguration.Proxy) throws -> APNSClientConfiguration.Proxy {
        guard let user = proxy.user, let file = proxy.passwordFile else {
            return .init(host: proxy.host, port: proxy.port)
        }
        return .init(host: proxy.host, port: proxy.port, user: user, password: try firstLine(of: file))
    }

    /// What a library says of a file that is not there is for programmers.
    private static func demandText(_ file: String, as key: String) throws {
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
        // To Swift, the end of a line in a file from Windows is one character that is not equal to "\n".
        return text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).first.map(String.init) ?? ""
    }
}
