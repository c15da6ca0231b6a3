import ArgumentParser
import Foundation
import PushGateway

/// Options that say how to reach a gateway.
struct ConnectionOptions: ParsableArguments {
    @Option(help: "URL of the gateway. Default: GODWIT_URL, otherwise http://127.0.0.1:8025.")
    var url: String?

    @Option(
        help: "File with an API key, which is sent as a bearer token. Default: the key in GODWIT_API_KEY.",
        transform: UserPath.expanded)
    var apiKeyFile: String?

    @Option(
        name: .customLong("header"),
        help: ArgumentHelp("Header to send with each request; repeatable.", valueName: "name: value"))
    var headers: [String] = []

    @Option(
        help: "File with the CA certificates (PEM) to trust for an https URL, instead of the system's.",
        transform: UserPath.expanded)
    var ca: String?

    func validate() throws {
        _ = try gateway(apiKey: apiKeyFile == nil ? nil : "")
        if ca != nil, !address.lowercased().hasPrefix("https:") { throw ValidationError("--ca needs an https URL") }
    }

    /// Reads the files of the options.
    ///
    /// - Throws: `CommandError` if a file cannot be used; its text never has a key or password.
    func connection() throws -> GatewayConnection {
        var connection = try gateway(apiKey: try apiKeyFile.map { try Self.apiKey(inFile: $0) })
        if let ca { try connection.trust(file: ca) }
        return connection
    }

    /// The URL without user and password, if the command line has one.
    var givenURL: String? { url == nil ? nil : (try? gateway(apiKey: nil))?.url }

    private var address: String { url ?? Self.environment("GODWIT_URL") ?? "http://127.0.0.1:8025" }

    /// - Parameter apiKey: the content of the key file; nil: the option is not given.
    private func gateway(apiKey: String?) throws(ValidationError) -> GatewayConnection {
        try GatewayConnection(
            url: address, headers: headers, apiKey: apiKey, defaultKey: Self.environment("GODWIT_API_KEY"))
    }

    private static func apiKey(inFile file: String) throws(CommandError) -> String {
        let advice = "; it must be the path of a file that holds the key, not the key"
        do throws(UnreadableFile) {
            let key = try TextFile.read(file).trimmingCharacters(in: .whitespacesAndNewlines)
            guard GatewayConnection.isAPIKey(key) else {
                throw UnreadableFile("it has no key: one line of printable ASCII characters without spaces")
            }
            return key
        } catch {
            // The file is not named: it may be the key.
            throw CommandError("the file of --api-key-file cannot be used: \(error)\(advice)")
        }
    }

    /// An empty variable is treated as a missing one.
    private static func environment(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}
