public import APNSWire
public import Logging

/// Where and how an `APNSChannelClient` connects. Reads no environment variables.
public struct APNSChannelClientConfiguration: Sendable {
    /// A server that speaks the APNs provider protocol.
    public typealias Endpoint = APNSClientConfiguration.Endpoint

    /// The server that creates, reads, lists and deletes channels.
    public var managementEndpoint: Endpoint
    /// The server for publishing to channels; it also takes pushes to devices.
    public var pushEndpoint: Endpoint
    /// The certificate authorities that may sign the server's certificate.
    public var trustRoots: APNSClientConfiguration.TrustRoots = .systemDefault
    /// Use the same `ProviderTokenSource` for this client and for clients for pushes: APNs counts the token updates of
    /// a key, over all clients.
    public var credential: APNSCredential
    /// nil connects directly.
    public var proxy: APNSClientConfiguration.Proxy?
    /// Covers everything from name resolution to the server's SETTINGS frame.
    public var connectTimeout: Duration = .seconds(10)
    /// While requests are in flight, a PING is sent when the server has sent nothing for this long.
    public var pingInterval: Duration = .seconds(10)
    /// The connection is closed when the server has sent nothing for this long after a PING.
    public var pingTimeout: Duration = .seconds(5)
    /// A connection that was idle for this long must acknowledge a PING before it gets a request.
    public var idleBeforeProbe: Duration = .seconds(60)
    /// A connection is closed after this time without requests.
    public var idleTimeout: Duration = .seconds(300)
    /// How long a draining connection waits for the answers to its requests.
    public var drainTimeout: Duration = .seconds(10)
    /// Requests inside the client, queued or in flight; further requests fail as `overloaded`.
    public var requestsMax = 1000
    /// Logs changes of connections at debug level.
    public var logger = Logger(label: "apns.channels")

    /// A configuration for other servers than Apple's, such as a simulator.
    public init(managementEndpoint: Endpoint, pushEndpoint: Endpoint, credential: APNSCredential = .none) {
        self.managementEndpoint = managementEndpoint
        self.pushEndpoint = pushEndpoint
        self.credential = credential
    }

    /// A configuration for Apple's servers. The two environments have separate channels.
    public init(environment: APNSEnvironment, credential: APNSCredential) {
        self.init(
            managementEndpoint: Endpoint(
                host: environment.channelManagementHost, port: environment.channelManagementPort),
            pushEndpoint: Endpoint(host: environment.host, port: APNSEnvironment.port), credential: credential
        )
    }

    /// All problems of the configuration; empty if it is valid.
    public func problems() -> [String] {
        var problems = connection(to: managementEndpoint).problems()
        for problem in connection(to: pushEndpoint).problems() where !problems.contains(problem) {
            problems.append(problem)
        }
        if idleTimeout <= .zero { problems.append("the APNs idle timeout must be greater than zero") }
        if requestsMax < 1 { problems.append("requestsMax of the channel client must be at least 1") }
        return problems
    }

    /// The settings that both clients have in common, for one server.
    func connection(to endpoint: Endpoint) -> APNSClientConfiguration {
        var configuration = APNSClientConfiguration(endpoint: endpoint, credential: credential)
        configuration.trustRoots = trustRoots
        configuration.proxy = proxy
        configuration.connectTimeout = connectTimeout
        configuration.pingInterval = pingInterval
        configuration.pingTimeout = pingTimeout
        configuration.idleBeforeProbe = idleBeforeProbe
        configuration.drainTimeout = drainTimeout
        return configuration
    }
}
