import ArgumentParser
import Foundation

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
