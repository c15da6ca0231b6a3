import APNSKit
import APNSWire
import Crypto
import Foundation
import Logging
import PushGateway
import PushModel
import PushTesting
import Testing

@Suite struct `APNs clients of a gateway` {
    private func app(
        _ name: String, key: String, environment: APNSEnvironment = .production,
        endpoint: GatewayConfiguration.Endpoint? = nil
    ) -> GatewayConfiguration.App {
        GatewayConfiguration.App(
            name: name, bundleID: name,
            environments: [
                .init(
                    environment, credential: .key(.init(file: key, keyID: "KEYID00001", teamID: "TEAMID0001")),
                    endpoint: endpoint
                )
            ]
        )
    }

    @Test func `apps with the same credential and endpoint share a client`() async throws {
        let folder = try TemporaryFolder()
        var files: [String] = []
        for number in 0..<2 {
            files.append(try folder.write(P256.Signing.PrivateKey().pemRepresentation, to: "\(number).p8"))
        }
        var configuration = GatewayConfiguration()
        configuration.apps = (0..<500).map { app("app\($0)", key: files[0]) }
        configuration.apps += [
            app("other-key", key: files[1]), app("sandbox", key: files[0], environment: .sandbox),
            app("host", key: files[0], endpoint: .init(host: "api.push.apple.com", port: 2197)),
        ]
        let clients = try GatewayClients(configuration, logger: Logger(label: "test")).clients
        #expect(clients.count == 503)
        let shared = try #require(clients[AppEnvironment(AppID("app0"))])
        #expect((0..<500).allSatisfy { clients[AppEnvironment(AppID("app\($0)"))] === shared })
        #expect(Set(clients.values.map { ObjectIdentifier($0) }).count == 4)
        for client in clients.values { await client.shutdown(grace: .zero) }
    }

    @Test func `a reload replaces what changed, once per file, and keeps what cannot be used`() async throws {
        let folder = try TemporaryFolder()
        func write(_ name: String) throws -> String {
            try folder.write(P256.Signing.PrivateKey().pemRepresentation, to: name)
        }
        let (one, two) = (try write("one.p8"), try write("two.p8"))
        var configuration = GatewayConfiguration()
        configuration.apps = [app("a", key: one), app("b", key: one), app("c", key: two)]
        let clients = try GatewayClients(configuration, logger: Logger(label: "test"))
        #expect(clients.groups.map { $0.apps.count } == [2, 1])
        let before = clients.groups.map(\.credential)
        func reload(_ new: GatewayConfiguration?) -> [String] {
            clients.reload(new).map { change in
                switch change.result {
                case .unchanged: "unchanged"
                case .replaced: "replaced"
                case .kept(let reason): reason.contains("restart") ? "needs a restart" : "kept"
                }
            }
        }
        #expect(reload(configuration) == ["unchanged", "unchanged"])
        // The same key in another layout keeps its token.
        try folder.write("# a comment\n" + (try String(contentsOfFile: one, encoding: .utf8)), to: "one.p8")
        #expect(reload(nil) == ["unchanged", "unchanged"])
        #expect(clients.groups.map(\.credential) == before)
        _ = try write("one.p8")
        #expect(reload(nil) == ["replaced", "unchanged"])
        try folder.write("nonsense", to: "one.p8")
        _ = try write("two.p8")
        #expect(reload(nil) == ["kept", "replaced"])
        // Apps of one client with different credentials, and an app that left the file.
        configuration.apps[1] = app("b", key: two)
        #expect(reload(configuration) == ["needs a restart", "unchanged"])
        configuration.apps.removeFirst()
        #expect(reload(configuration) == ["replaced", "unchanged"])
        guard case .token(let first) = clients.groups[0].credential,
            case .token(let second) = clients.groups[1].credential
        else {
            Issue.record("not provider tokens")
            return
        }
        #expect(first === second, "clients with the same key share its provider token")
        for group in clients.groups { await group.client.shutdown(grace: .zero) }
    }
}
