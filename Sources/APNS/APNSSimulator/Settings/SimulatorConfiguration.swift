/// What a simulator serves and what it asks of its clients. Plain values; nothing here reads the environment.
///
/// Every switch of `settings` can be read and written here directly: `configuration.latency = .milliseconds(50)`.
@dynamicMemberLookup
public struct SimulatorConfiguration: Sendable {
    /// A set of defaults; each of them can be changed afterwards.
    public enum Mode: Sendable {
        /// What is known about APNs: one stream before the first valid token, small windows, every push recorded.
        case faithful
        /// For benchmarks: all streams at once, a wide connection window, only the ids of pushes kept.
        case fast
    }

    /// Which of Apple's two worlds this is. Sandbox answers carry `apns-unique-id`.
    public enum Environment: String, Sendable {
        case production, sandbox
    }

    /// Whose provider tokens are good.
    public enum Authentication: Sendable {
        /// Tokens signed with one of these keys.
        case signingKeys([SimulatorSigningKey])
        /// Any token of the right form and age; its signature is not looked at.
        case unverified
    }

    /// The server's TLS identity.
    public enum CertificateSource: Sendable {
        /// A fresh authority and certificate for `localhost`, `127.0.0.1` and `::1`, in memory.
        case generated
        /// The same, by an authority that clients trust already.
        case issued(by: SimulatorAuthority)
        /// Paths of a PEM certificate chain (leaf first) and its PEM private key.
        case pemFiles(certificateChain: String, privateKey: String)
    }

    public let mode: Mode
    /// The address to listen on, for all ports.
    public var host = "127.0.0.1"
    /// 0 takes a free port; `Simulator.port` tells which.
    public var port = 0
    /// The HTTP/1.1 control API; 0 takes a free port, nil leaves it out.
    public var controlPort: Int? = 0
    public var authentication: Authentication
    public var environment: Environment = .production
    /// Bundle IDs that may be pushed to, without the suffix of the push type; nil allows any.
    public var topics: Set<String>?
    /// The switches it starts with; `Simulator.setSettings` turns them later.
    public var settings = SimulatorSettings()
    /// Who issues client certificates that are good; nil: connections are not asked for one.
    public var clientAuthority: SimulatorAuthority?
    /// Channel management, HTTP/2 over TLS; 0 takes a free port, nil leaves it out.
    public var channelPort: Int? = 0
    /// What clients may send on a connection before the server must make room, in bytes.
    public var connectionWindowBytes: Int32
    /// Pushes whose particulars are kept, the newest ones; 0 keeps none.
    public var pushLogMax: Int
    /// What the pushes reach; only pushes whose particulars are kept reach any.
    public var devices = DeviceSettings()
    /// Ids of taken pushes that are kept, the newest ones, 16 bytes each.
    public var idLogMax = 2_000_000
    public var certificate: CertificateSource = .generated
    public var numberOfThreads = 1
    /// How long `Simulator.shutdown` waits for unanswered requests.
    public var shutdownGrace: Duration = .seconds(2)
    /// UNIX time in milliseconds.
    public var clock: @Sendable () -> Int64 = SystemTime.unixMilliseconds

    public init(_ mode: Mode = .faithful, authentication: Authentication) {
        self.mode = mode
        self.authentication = authentication
        switch mode {
        case .faithful:
            connectionWindowBytes = 65_535
            pushLogMax = 10_000
        case .fast:
            settings.streamsBeforeAuthentication = 1000
            connectionWindowBytes = 8 << 20
            pushLogMax = 0
        }
    }

    public subscript<Value>(dynamicMember path: WritableKeyPath<SimulatorSettings, Value>) -> Value {
        get { settings[keyPath: path] }
        set { settings[keyPath: path] = newValue }
    }

    /// Every problem at once, so that an operator fixes the settings in one go.
    public func problems() -> [String] {
        var problems: [String] = []
        if !(0...65_535).contains(port) { problems.append("port must be 0 to 65535") }
        if let controlPort, !(0...65_535).contains(controlPort) { problems.append("control port must be 0 to 65535") }
        if let channelPort, !(0...65_535).contains(channelPort) { problems.append("channel port must be 0 to 65535") }
        problems += settings.problems()
        if connectionWindowBytes < 65_535 { problems.append("connection window must be at least 65535 bytes") }
        if !(0...10_000_000).contains(pushLogMax) { problems.append("push log must be 0 to 10000000") }
        if !(0...100_000_000).contains(idLogMax) { problems.append("id log must be 0 to 100000000") }
        if !(1...64).contains(numberOfThreads) { problems.append("threads must be 1 to 64") }
        problems += devices.problems()
        if case .signingKeys(let keys) = authentication {
            if keys.isEmpty { problems.append("no signing key: every push would be refused") }
            if Set(keys.map(\.keyID)).count != keys.count { problems.append("two signing keys have the same key id") }
        }
        return problems
    }
}

/// Why a simulator did not start.
public enum SimulatorError: Error, Equatable, CustomStringConvertible {
    case badConfiguration([String])
    /// The address is in use or not ours; the text is the system's.
    case cannotListen(host: String, port: Int, reason: String)
    /// A certificate or key is missing, unreadable or not what it should be.
    case badCredential(String)

    public var description: String {
        switch self {
        case .badConfiguration(let problems): "simulator: \(problems.joined(separator: "; "))"
        case .cannotListen(let host, let port, let reason): "simulator: cannot listen on \(host):\(port): \(reason)"
        case .badCredential(let what): "simulator: \(what)"
        }
    }
}
