import APNSKit
import APNSWire
import NIOPosix

/// The server, the credential and the app. Contains no secret: the key stays in its file and is never printed.
public struct Settings: Sendable {
    public var environment = APNSEnvironment.sandbox
    /// A server other than Apple's, such as a simulator; nil for Apple's.
    public var host: String?
    public var port = 443
    public var channelPort: Int?
    /// A PEM file with the authority of that server's certificate; nil uses the system's trust roots.
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

    /// Reads environment variables; see `Examples/README.md`.
    public init(_ variables: [String: String]) throws(RecipeError) {
        func value(_ name: String) throws(RecipeError) -> String {
            guard let value = variables[name], !value.isEmpty else { throw RecipeError("\(name) is not set") }
            return value
        }
        func number(_ name: String) throws(RecipeError) -> Int? {
            guard let text = variables[name] else { return nil }
            guard let number = Int(text) else { throw RecipeError("\(name) ('\(text)') is not a number") }
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
    /// The credential. Create one source per key and share it among clients: APNs counts how often a key's token
    /// changes.
    public func credential() throws -> APNSCredential {
        .token(ProviderTokenSource(key: try ProviderTokenKey(file: keyFile, keyID: keyID, teamID: teamID)))
    }
    // snippet end

    // snippet: client
    /// A client for pushes to devices. Create one and keep it: its connections stay open for hours.
    public func client(_ credential: APNSCredential) throws -> APNSClient {
        var configuration = APNSClientConfiguration(
            endpoint: .init(host: host ?? environment.host, port: port), credential: credential
        )
        if let authorityFile { configuration.trustRoots = .file(authorityFile) }
        return try APNSClient(configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
    }
    // snippet end

    // snippet: channel-client
    /// A client for broadcast channels, which have their own hosts and ports.
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

    /// Parses a device token in hexadecimal.
    public static func token(_ hex: String?) throws(RecipeError) -> DeviceToken {
        guard let hex, let token = DeviceToken(hex: hex) else {
            throw RecipeError("'\(hex ?? "")' is not a device token in hexadecimal")
        }
        return token
    }
}

/// A mistake in the settings or arguments of an example.
public struct RecipeError: Error, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }
}
