public import APNSWire
public import Logging

/// Where and how an `APNSChannelClient` connects. Plain values; nothing here reads the environment.
public struct APNSChannelClientConfiguration: Sendable {
    /// A server that speaks the provider protocol.
    public typealias Endpoint = APNSClientConfiguration.Endpoint

    /// Where channels are created, read, listed and deleted.
    public var managementEndpoint: Endpoint
    /// Where something is published to a channel: the host that takes pushes to devices too.
    public var pushEndpoint: Endpoint
    /// Whose signature makes a server's certificate good.
    public var trustRoots: APNSClientConfiguration.TrustRoots = .systemDefault
    /// Who we are. Give the client for pushes the same `ProviderTokenSource`: APNs counts tokens a key, not a client.
    public var credential: APNSCredential
    /// On the way to APNs; nil connects directly.
    public var proxy: APNSClientConfiguration.Proxy?
    /// From the first DNS packet to the server's SETTINGS frame.
    public var connectTimeout: Duration = .seconds(10)
    /// Silence, with requests open, after which a PING asks whether anybody is there.
    public var pingInterval: Duration = .seconds(10)
    /// Silence after a PING after which the connection is given up.
    public var pingTimeout: Duration = .seconds(5)
    /// A connection that was silent for this long must answer a PING before it gets a request.
    public var idleBeforeProbe: Duration = .seconds(60)
    /// A connection without requests is closed after this time.
    public var idleTimeout: Duration = .seconds(300)
    /// How long requests may wait for their answers on a connection that the server is ending.
    public var drainTimeout: Duration = .seconds(10)
    /// Requests inside the client, waiting or in flight; what comes on top is refused as `overloaded`.
    public var requestsMax = 1000
    /// Says little: what happens to connections, at debug level.
    public var logger = Logger(label: "apns.channels")

    /// For servers other than Apple's, such as a simulator.
    public init(managementEndpoint: Endpoint, pushEndpoint: Endpoint, credential: APNSCredential = .none) {
        self.managementEndpoint = managementEndpoint
        self.pushEndpoint = pushEndpoint
        self.credential = credential
    }

    /// For Apple's servers. Channels of one environment do not exist in the other.
    public init(environment: APNSEnvironment, credential: APNSCredential) {
        self.init(
            managementEndpoint: Endpoint(
                host: environment.channelManagementHost, port: environment.channelManagementPort),
            pushEndpoint: Endpoint(host: environment.host, port: APNSEnvironment.port), credential: credential
        )
    }

    /// Every problem at once, so that an operator fixes them in one go; empty when there is none.
    public func problems() -> [String] {
        var problems = connection(to: managementEndpoint).problems()
        for problem in connection(to: pushEndpoint).problems() where !problems.contains(problem) {
            problems.append(problem)
        }
        if idleTimeout <= .zero { problems.append("the APNs idle timeout must be longer than nothing") }
        if requestsMax < 1 { problems.append("the channel client must be allowed at least one request") }
        return problems
    }

    /// What both clients have in common, for one host.
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
