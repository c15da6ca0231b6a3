import APNSKit
import APNSWire
import Foundation
import PushTesting
import Testing

/// Connections through `tinyproxy`.
@Suite struct `Proxy` {
    private func start(_ folder: TemporaryFolder, options: String = "") async throws -> (ChildProcess, Int) {
        let port = try freePort()
        let file = try folder.write(
            "Port \(port)\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\n\(options)\n",
            to: "tinyproxy.conf"
        )
        let process = try ChildProcess("/usr/bin/tinyproxy", ["-d", "-c", file])
        try await process.waitForLine(containing: "Accepting connections")
        return (process, port)
    }

    @Test func `pushes are sent through a proxy with a password`() async throws {
        let folder = try TemporaryFolder()
        let (proxy, port) = try await start(folder, options: "BasicAuth godwit flies-far")
        defer { proxy.signal(SIGKILL) }
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port, host: "localhost") {
            $0.proxy = .init(host: "127.0.0.1", port: port, user: "godwit", password: "flies-far")
        }
        #expect(await client.send(Samples.batch(300)).allSatisfy { $0 == .accepted })
        #expect(server.connections == 1)
        await client.shutdown()
    }

    @Test func `a tunnel that the proxy refuses is reported as a proxy failure`() async throws {
        let folder = try TemporaryFolder()
        let (proxy, port) = try await start(folder, options: "BasicAuth godwit flies-far")
        defer { proxy.signal(SIGKILL) }
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port, host: "localhost") {
            $0.proxy = .init(host: "127.0.0.1", port: port, user: "godwit", password: "wrong")
        }
        #expect(await client.send(Samples.batch(1), requestTimeout: .seconds(1)) == [.failed(.proxy, .neverWritten)])
        #expect(server.connections == 0)
        await client.shutdown(grace: .zero)
    }

    @Test func `an unreachable proxy is not bypassed`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port) {
            $0.proxy = .init(host: "127.0.0.1", port: 1)
        }
        let answers = await client.send(Samples.batch(1), requestTimeout: .seconds(1))
        #expect(answers == [.failed(.proxy, .neverWritten)])
        #expect(server.connections == 0)
        await client.shutdown(grace: .zero)
    }
}
