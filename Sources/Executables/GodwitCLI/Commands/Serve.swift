import ArgumentParser
import Foundation
import Logging
import NIOCore
import PushGateway
import Telemetry

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the gateway.",
        discussion: """
            Takes pushes over HTTP and sends them to APNs until SIGTERM, SIGINT or SIGHUP, which drain it; a second signal makes \
            that short. SIGINT does without the grace period of shutdown.grace.
            """
    )

    @Option(name: .shortAndLong, help: "The configuration file (YAML).")
    var config = "godwit.yaml"

    @Option(help: "Listen on this port instead of the configured one; 0 takes a free one.")
    var port: Int?

    @Option(help: "Use this folder for the database instead of the configured one.")
    var store: String?

    @Flag(help: "Take the database from another process that has shown no life for three leases.")
    var takeover = false

    mutating func run() async throws {
        var configuration = try GatewayConfiguration.read(path: config)
        if let port { configuration.listen.port = port }
        if let store { configuration.storePath = store }
        configuration.takesOver = takeover
        try await GatewayRun(configuration).run { url in Terminal.say("godwit: ready on \(url)") }
    }
}

/// A gateway under the signals of this process.
struct GatewayRun {
    let gateway: Gateway
    private let listen: GatewayConfiguration.Listen

    init(_ configuration: GatewayConfiguration) async throws {
        Termination.listen()
        listen = configuration.listen
        if configuration.takesOver { try Self.demandFreePort(configuration.listen) }
        let level = Logger.Level(rawValue: configuration.logLevel) ?? .info
        let logger = Logger(label: "godwit") { label in JSONLogHandler(label: label, logLevel: level) }
        gateway = try await started { try Gateway.open(configuration, logger: logger) }
    }

    /// Whoever hangs still listens. To find that out after the store was taken would leave nobody to serve.
    private static func demandFreePort(_ listen: GatewayConfiguration.Listen) throws {
        guard listen.port != 0 else { return }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var isOn: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isOn, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(listen.port).bigEndian
        // An address that is no IPv4 literal is left to the server itself.
        guard inet_pton(AF_INET, listen.host, &address.sin_addr) == 1 else { return }
        // SAFETY: `address` outlives the call.
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result != 0, errno == EADDRINUSE else { return }
        throw CommandError(
            "port \(listen.port) is in use, perhaps by the process that hangs; nothing was taken over, give another --port"
        )
    }

    /// Serves until SIGTERM or SIGINT, and drains; a second signal hurries.
    func run(ready: @escaping @Sendable (String) -> Void) async throws {
        try await started {
            do {
                try await gateway.run(
                    ready: ready,
                    until: {
                        await Termination.wait()
                        return !Termination.isInterrupt
                    },
                    forceShutdown: { await Termination.wait(times: 2) }
                )
            } catch let error as IOError where [EADDRINUSE, EADDRNOTAVAIL, EACCES].contains(error.errnoCode) {
                let reason = String(cString: strerror(error.errnoCode)).lowercased()
                throw CommandError("cannot listen on \(listen.host):\(listen.port): \(reason)")
            }
        }
    }
}
