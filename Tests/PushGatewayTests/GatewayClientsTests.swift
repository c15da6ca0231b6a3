import APNSKit
import APNSWire
import Crypto
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
        let clients = try GatewayClients.make(configuration, logger: Logger(label: "test"))
        #expect(clients.count == 503)
        let shared = try #require(clients[AppEnvironment(AppID("app0"))])
        #expect((0..<500).allSatisfy { clients[AppEnvironment(AppID("app\($0)"))] === shared })
        #expect(Set(clients.values.map { ObjectIdentifier($0) }).count == 4)
        for client in clients.values { await client.shutdown(grace: .zero) }
    }
}
