import ArgumentParser
import PushModel

/// Options of the commands that call a gateway's control API.
struct GatewayOptions: ParsableArguments {
    static let defaultTimeoutSeconds = 30

    @OptionGroup var connection: ConnectionOptions

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
            return try await GatewayAPI.with(connection.connection(), timeout: .seconds(timeout), body)
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
