import ArgumentParser
import Foundation

/// Where the gateway is, and how long it may take to answer.
struct TimeoutOption: ParsableArguments {
    static let secondsDefault = 30

    @OptionGroup var gateway: GatewayOption

    @Option(help: "How long the gateway may say nothing, in seconds.")
    var timeout = Self.secondsDefault

    func validate() throws {
        guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout is 1 to 86400 seconds") }
    }

    /// Calls the gateway.
    ///
    /// - Throws: `GatewayFailure` with one sentence.
    func call<Value>(_ body: (GatewayAPI) async throws -> Value) async throws -> Value {
        try await GatewayAPI.with(gateway.address, timeout: .seconds(timeout), body)
    }
}

/// Where the gateway is.
struct GatewayOption: ParsableArguments {
    @Option(help: "The gateway; else the environment variable GODWIT_URL, else http://127.0.0.1:8025.")
    var url: String?

    var address: String {
        url ?? ProcessInfo.processInfo.environment["GODWIT_URL"] ?? "http://127.0.0.1:8025"
    }

    func validate() throws {
        guard let parts = URLComponents(string: address), parts.scheme == "http" || parts.scheme == "https",
            parts.host?.isEmpty == false
        else { throw ValidationError("\(address) is not a URL like http://127.0.0.1:8025") }
    }
}
