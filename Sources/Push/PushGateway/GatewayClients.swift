package import APNSKit
package import Logging
import NIOPosix
package import PushModel
import Synchronization

/// The APNs clients of a gateway: one for each credential and endpoint, shared by all environments of apps that use both.
///
/// Connections never mix teams, and the number of connections does not depend on the number of apps. Clients with the same
/// signing key share its provider token, because APNs limits how often the token of a key may change.
///
/// A client stays the same while its credential is replaced. Which apps share a client is therefore decided at the start:
/// a reload cannot give apps of one client different credentials.
package final class GatewayClients: Sendable {
    /// What the apps of one client have in common.
    private struct Identity: Hashable {
        var credential: GatewayConfiguration.Credential
        var endpoint: APNSClientConfiguration.Endpoint
        var caFile: String?
    }

    /// A client and the apps that share it, in their order.
    package struct Group: Sendable {
        package let client: APNSClient
        package fileprivate(set) var apps: [AppEnvironment]
        package fileprivate(set) var credential: APNSCredential
        /// Where the credential came from.
        fileprivate var source: GatewayConfiguration.Credential

        package var certificate: APNSCertificate? {
            if case .certificate(let certificate) = credential { certificate } else { nil }
        }
    }

    /// What a reload did to the credential of one client.
    package struct Change: Sendable {
        package enum Result: Sendable {
            case replaced(by: APNSCredential)
            /// The credential in use stays, for this reason.
            case kept(String)
            case unchanged
        }

        package var apps: [AppEnvironment]
        package var result: Result
    }

    package let clients: [AppEnvironment: APNSClient]
    private let current: Mutex<[Group]>

    /// Reads the credentials and creates the clients; none connects yet.
    ///
    /// - Throws: `ConfigurationError` that names the app.
    package init(_ configuration: GatewayConfiguration, logger: Logger) throws {
        var files = CredentialFiles()
        var groups: [Identity: Group] = [:]
        for (id, app, settings) in configuration.appEnvironments {
            let identity = Identity(
                credential: settings.credential, endpoint: settings.apnsEndpoint, caFile: settings.endpoint?.caFile
            )
            groups[identity]?.apps.append(id)
            guard groups[identity] == nil else { continue }
            do {
                let credential = try files.load(settings.credential)
                let client = try Self.client(with: credential, settings, configuration, logger)
                groups[identity] = Group(
                    client: client, apps: [id], credential: credential, source: settings.credential)
            } catch {
                throw ConfigurationError(file: "app \"\(app.name)\"", problems: ["\(error)"])
            }
        }
        clients = groups.values.reduce(into: [:]) { clients, group in
            for app in group.apps { clients[app] = group.client }
        }
        current = Mutex(groups.values.sorted { $0.apps[0] < $1.apps[0] })
    }

    /// The clients, ordered by their first app.
    package var groups: [Group] { current.withLock { $0 } }

    private static func client(
        with credential: APNSCredential, _ settings: GatewayConfiguration.EnvironmentSettings,
        _ configuration: GatewayConfiguration, _ logger: Logger
    ) throws -> APNSClient {
        var client = APNSClientConfiguration(endpoint: settings.apnsEndpoint, credential: credential)
        if let file = settings.endpoint?.caFile { client.trustRoots = .file(file) }
        client.proxy = try configuration.proxy.map(Self.proxy)
        client.connectionsMax = configuration.connectionsMax
        client.outageTolerance = .seconds(1)
        client.logger = logger
        return try APNSClient(configuration: client, eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
    }

    private static func proxy(_ proxy: GatewayConfiguration.Proxy) throws -> APNSClientConfiguration.Proxy {
        guard let user = proxy.user, let file = proxy.passwordFile else {
            return .init(host: proxy.host, port: proxy.port)
        }
        return .init(host: proxy.host, port: proxy.port, user: user, password: try TextFile.firstLine(of: file))
    }

    // MARK: Reload

    /// Reads the files of all credentials again and replaces those that changed. No push is lost: those in flight are
    /// answered on their connections, all others are sent over new ones. A credential that cannot be used changes nothing.
    ///
    /// - Parameter configuration: where the credentials are now; nil if that cannot be read, then where they were.
    package func reload(_ configuration: GatewayConfiguration?) -> [Change] {
        let wanted = configuration.map { configuration in
            Dictionary(configuration.appEnvironments.map { ($0.id, $0.settings.credential) }) { first, _ in first }
        }
        return current.withLock { groups in
            var files = CredentialFiles(earlier: groups.map(\.credential))
            return groups.indices.map { index in
                Change(apps: groups[index].apps, result: Self.reload(&groups[index], wanted, &files))
            }
        }
    }

    private static func reload(
        _ group: inout Group, _ wanted: [AppEnvironment: GatewayConfiguration.Credential]?,
        _ files: inout CredentialFiles
    ) -> Change.Result {
        // Apps that left the file keep their credential until the restart that removes them.
        let sources = Set(wanted.map { wanted in group.apps.compactMap { wanted[$0] } } ?? [group.source])
        guard sources.count <= 1 else {
            return .kept("its apps share connections and have different credentials now, which needs a restart")
        }
        let source = sources.first ?? group.source
        do {
            let credential = try files.load(source)
            group.source = source
            guard credential != group.credential else { return .unchanged }
            try group.client.replaceCredential(credential)
            group.credential = credential
            return .replaced(by: credential)
        } catch {
            return .kept("\(error)")
        }
    }
}
