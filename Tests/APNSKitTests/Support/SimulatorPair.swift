import APNSKit
import APNSSimulator
import APNSWire
import NIOCore
import NIOPosix

/// A simulator, a client for it, and the clock of both.
struct SimulatorPair {
    let simulator: Simulator
    let client: APNSClient
    let time: TestWallClock
    let tokens: ProviderTokenSource

    init(
        _ mode: SimulatorConfiguration.Mode = .faithful,
        group: any EventLoopGroup = .singletonMultiThreadedEventLoopGroup,
        simulator change: (inout SimulatorConfiguration) -> Void = { _ in },
        client changeClient: (inout APNSClientConfiguration) -> Void = { _ in }
    ) async throws {
        let time = TestWallClock()
        let credentials = SimulatorCredentials()
        var configuration = SimulatorConfiguration(mode, authentication: .signingKeys([credentials.signingKey]))
        configuration.controlPort = nil
        configuration.clock = { time.now.millisecondsSince1970 }
        configuration.shutdownGrace = .zero
        change(&configuration)
        simulator = try await Simulator.start(configuration)
        let key = try ProviderTokenKey(
            pem: credentials.privateKeyPEM, keyID: credentials.keyID, teamID: credentials.teamID
        )
        tokens = ProviderTokenSource(key: key, clock: time.clock)
        self.time = time
        let (authority, tokens) = (simulator.certificateAuthorityPEM, tokens)
        client = try Samples.client(port: simulator.port, host: "localhost", group: group) {
            $0.trustRoots = .pem(authority)
            $0.credential = .token(tokens)
            $0.clock = time.clock
            changeClient(&$0)
        }
    }

    func stop() async throws {
        await client.shutdown(grace: .zero)
        try await simulator.shutdown()
    }
}
