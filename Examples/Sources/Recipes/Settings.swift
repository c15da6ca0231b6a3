import APNSKit
import APNSWire
import NIOPosix

/// Where to send and as whom. Nothing here is secret but what is in the key file, and that is never printed.
public struct Settings: Sendable {
    public var environment = APNSEnvironment.sandbox
    /// Another server than Apple's, such as a simulator.
    public var host: String?
    public var port = 443
    public var channelPort: Int?
    /// Certificates in PEM that sign that server's; nil trusts what the system trusts.
    public var authorityFile: String?
    public var keyFile: String
    public var keyID: String
    public var teamID: String
    public var bundleID: String

    public init(keyFile: String, keyID: String, teamID: String, bundleID: String) {
        self.keyFile = keyFile
        self.keyID = keyID
        self.teamID = teamID
        self.bundleID = bundleID
    }

    /// From variables of the environment; see `Examples/README.md`.
    public init(_ variables: [String: String]) throws(RecipeError) {
        func value(_ name: String) throws(RecipeError) -> String {
            guard let value = variables[name], !value.isEmpty else { throw RecipeError("Set \(name).") }
            return value
        }
        func number(_ name: String) throws(RecipeError) -> Int? {
            guard let text = variables[name] else { return nil }
            guard let number = Int(text) else { throw RecipeError("\(name) must be a number.") }
            return number
        }
        self.init(
            keyFile: try value("APNS_KEY_FILE"), keyID: try value("APNS_KEY_ID"), teamID: try value("APNS_TEAM_ID"),
            bundleID: try value("APNS_BUNDLE_ID")
        )
        if variables["APNS_ENVIRONMENT"] == "production" { environment = .production }
        host = variables["APNS_HOST"]
        port = try number("APNS_PORT") ?? port
        channelPort = try number("APNS_CHANNEL_PORT")
        authorityFile = variables["APNS_CA_FILE"]
    }

    // snippet: credential
    /// The credential. Make one source for each key and give it to every client: APNs counts how often a key's token changes.
    public func credential() throws -> APNSCredential {
        .token(ProviderTokenSource(key: try ProviderTokenKey(file: keyFile, keyID: keyID, teamID: teamID)))
    }
    // snippet end

    // snippet: client
    /// A client for pushes to devices. Make one and keep it: its connections are meant to live for hours.
    public func client(_ credential: APNSCredential) throws -> APNSClient {
        var configuration = APNSClientConfiguration(
            endpoint: .init(host: host ?? environment.host, port: port), credential: credential
        )
        if let authorityFile { configuration.trustRoots = .file(authorityFile) }
        return try APNSClient(configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
    }
    // snippet end

    // snippet: channel-client
    /// A client for broadcast channels, which have hosts and ports of their own.
    public func channelClient(_ credential: APNSCredential) throws -> APNSChannelClient {
        var configuration = APNSChannelClientConfiguration(environment: environment, credential: credential)
        if let host {
            configuration.managementEndpoint = .init(host: host, port: channelPort ?? port)
            configuration.pushEndpoint = .init(host: host, port: port)
        }
        if let authorityFile { configuration.trustRoots = .file(authorityFile) }
        return try APNSChannelClient(
            configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
    }
    // snippet end

    /// The token that an argument gives in hexadecimal.
    public static func token(_ hex: String?) throws(RecipeError) -> DeviceToken {
        guard let hex, let token = DeviceToken(hex: hex) else {
            throw RecipeError("Give a device token in hexadecimal.")
        }
        return token
    }
}

/// Something that whoever runs an example must put right.
public struct RecipeError: Error, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }
}
