/// The configuration of a simulator. Nothing here reads environment variables or files.
///
/// The members of `settings` are also available directly: `configuration.latency = .milliseconds(50)`.
@dynamicMemberLookup
public struct SimulatorConfiguration: Sendable {
    /// A set of defaults. Each of them can be changed afterwards.
    public enum Mode: Sendable {
        /// Behaves like APNs: one stream before the first valid token, default windows. Records every push.
        case faithful
        /// For benchmarks: all streams immediately, a large connection window. Records only the IDs of pushes.
        case fast
    }

    /// The APNs environment. Sandbox responses have an `apns-unique-id` header.
    public enum Environment: String, Sendable {
        case production, sandbox
    }

    /// The provider tokens that are accepted.
    public enum Authentication: Sendable {
        /// Tokens signed with one of these keys.
        case signingKeys([SimulatorSigningKey])
        /// Any well-formed token of a valid age. Signatures are not verified.
        case unverified
    }

    /// The server's TLS identity.
    public enum CertificateSource: Sendable {
        /// A new authority and certificate for `localhost`, `127.0.0.1` and `::1`, in memory.
        case generated
        /// A new certificate for the same names, issued by an authority that clients already trust.
        case issued(by: SimulatorAuthority)
        /// Paths of a PEM certificate chain (leaf first) and its PEM private key.
        case pemFiles(certificateChain: String, privateKey: String)
    }

    #if SimulatorControl
    private static let controlPortDefault: Int? = 0
    #else
    private static let controlPortDefault: Int? = nil
    #endif

    public let mode: Mode
    /// The address to listen on, for all ports.
    public var host = "127.0.0.1"
    /// The port for pushes; 0 for any free port, which `Simulator.port` then returns.
    public var port = 0
    /// The port of the HTTP/1.1 control API; 0 for any free port, nil to disable it. Needs the package trait
    /// `SimulatorControl`, without which it must be nil.
    public var controlPort: Int? = SimulatorConfiguration.controlPortDefault
    public var authentication: Authentication
    public var environment: Environment = .production
    /// Bundle IDs that accept pushes, without the suffix of the push type; nil for any.
    public var topics: Set<String>?
    /// The initial settings. `Simulator.changeSettings` changes them later.
    public var settings = SimulatorSettings()
    /// The authority of client certificates; nil: clients are not asked for a certificate.
    public var clientAuthority: SimulatorAuthority?
    /// The port of channel management, HTTP/2 over TLS; 0 for any free port, nil to disable it.
    public var channelPort: Int? = 0
    /// The HTTP/2 flow-control window of a connection, in bytes.
    public var connectionWindowBytes: Int32
    /// The number of pushes in the log, the newest ones; 0 disables the log and the devices.
    public var pushLogMax: Int
    /// The simulated devices. Only logged pushes reach them.
    public var devices = DeviceSettings()
    /// The number of IDs of accepted pushes that are kept, the newest ones, 16 bytes each.
    public var idLogMax = 2_000_000
    public var certificate: CertificateSource = .generated
    /// Event-loop threads.
    public var numberOfThreads = 1
    /// How long `Simulator.shutdown` waits for pending responses.
    public var shutdownGrace: Duration = .seconds(2)
    /// Hands test pushes of the phone page to a gateway; nil: the simulator delivers them itself. Returns within seconds.
    package var sendTestPush: (@Sendable (TestPush) async -> TestPush.Result)?
    /// Returns the UNIX time in milliseconds.
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

    /// Every problem of the configuration; empty if it is valid.
    public func problems() -> [String] {
        var problems: [String] = []
        if !(0...65_535).contains(port) { problems.append("port must be 0 to 65535") }
        if controlPort != nil, Self.controlPortDefault == nil {
            problems.append("a control port needs the package trait SimulatorControl")
        }
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
            if Set(keys.map(\.keyID)).count != keys.count { problems.append("two signing keys have the same key ID") }
        }
        return problems
    }
}

/// An error at the start of a simulator, or in a change of its settings.
public enum SimulatorError: Error, Equatable, CustomStringConvertible {
    /// All problems of a configuration, settings or scenario.
    case badConfiguration([String])
    /// The address is in use or not available.
    case cannotListen(host: String, port: Int, reason: String)
    /// A certificate or key is missing, unreadable or invalid.
    case badCredential(String)

    public var description: String {
        switch self {
        case .badConfiguration(let problems): "simulator: \(problems.joined(separator: "; "))"
        case .cannotListen(let host, let port, let reason): "simulator: cannot listen on \(host):\(port): \(reason)"
        case .badCredential(let problem): "simulator: \(problem)"
        }
    }
}
