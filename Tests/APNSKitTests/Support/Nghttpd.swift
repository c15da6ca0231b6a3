import Foundation
import NIOCore
import NIOPosix

/// A running `nghttpd`, the HTTP/2 server of the nghttp2 project. It answers every request with 200.
final class Nghttpd: Sendable {
    let port: Int
    private let process: Process

    static let path = "/usr/sbin/nghttpd"
    static var isInstalled: Bool { FileManager.default.isExecutableFile(atPath: path) }

    init(streamsMax: Int = 100) async throws {
        port = try await Self.freePort()
        process = Process()
        process.executableURL = URL(fileURLWithPath: Self.path)
        process.arguments = [
            "--echo-upload", "-a", "127.0.0.1", "-m", "\(streamsMax)", "\(port)", TestCertificate.server.keyPath,
            TestCertificate.server.certificatePath,
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    // Not `terminate`: the test runner blocks SIGTERM, and its children inherit that.
    deinit { kill(process.processIdentifier, SIGKILL) }

    /// A currently free port. The client retries until the server listens.
    private static func freePort() async throws -> Int {
        let channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = channel.localAddress!.port!
        try await channel.close()
        return port
    }
}
