import ArgumentParser
import Foundation
import PushModel

/// Options of the commands that call a gateway's control API.
struct GatewayOptions: ParsableArguments {
    static let defaultTimeoutSeconds = 30

    @OptionGroup var gateway: GatewayURL

    @Option(help: "Seconds that the gateway may take to respond.")
    var timeout = Self.defaultTimeoutSeconds

    @Flag(name: .customLong("json"), help: "Print the gateway's JSON unchanged.")
    var isJSON = false

    func validate() throws {
        guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout must be 1 to 86400 seconds") }
    }

    /// Calls the gateway.
    ///
    /// - Parameter app: the app that the request names.
    /// - Throws: `GatewayFailure`, whose description is one line.
    func call<Value>(app: String? = nil, _ body: (GatewayAPI) async throws -> Value) async throws -> Value {
        do {
            return try await GatewayAPI.with(gateway.address, timeout: .seconds(timeout), body)
        } catch let failure as GatewayFailure where failure.problem?.code == Int(ErrorCode.unknownApp.rawValue) {
            guard let app else { throw failure }
            throw GatewayFailure(
                description: "no app \"\(app)\" is configured; godwit apps lists them", status: failure.status)
        }
    }

    /// Prints a response: unchanged with `--json`, otherwise as `text` formats it.
    func write(_ response: [UInt8], text: ([UInt8]) throws -> String) throws {
        Terminal.writeOutput(isJSON ? JSONResponse.trimmed(response) : try text(response))
    }
}

/// The address of the gateway.
struct GatewayURL: ParsableArguments {
    @Option(help: "URL of the gateway. Default: GODWIT_URL, otherwise http://127.0.0.1:8025.")
    var url: String?

    var address: String {
        url ?? ProcessInfo.processInfo.environment["GODWIT_URL"] ?? "http://127.0.0.1:8025"
    }

    func validate() throws {
        guard let parts = URLComponents(string: address), parts.scheme == "http" || parts.scheme == "https",
            parts.host?.isEmpty == false
        else { throw ValidationError("'\(address)' is not a URL such as http://127.0.0.1:8025") }
    }
}
