import APNSSimulator
import Foundation
import PushTesting
import Testing

/// The first seconds of a stop.
@Suite struct `A gateway that was asked to stop` {
    private static let push = #"{"device_token":"00ff","payload":{"aps":{"alert":"late"}}}"#

    @Test func `says that it is not ready and still serves, until the grace period is over`() async throws {
        let gateway = try await GatewayUnderTest(grace: "4s")
        gateway.process.signal(SIGTERM)
        try await waitUntil("it is not ready any more") {
            try await curl(["\(gateway.url)/readyz"]).status == 503
        }
        let answer = try await curl(["-H", "Content-Type: application/json", "-d", Self.push, "\(gateway.url)/push"])
        #expect(answer.status == 200)
        #expect(try await gateway.process.waitForExit() == .status(0))
        #expect(gateway.simulator.counters.taken == 1)
        try await gateway.close()
    }

    @Test func `does the same when its terminal closes`() async throws {
        let gateway = try await GatewayUnderTest()
        gateway.process.signal(SIGHUP)
        #expect(try await gateway.process.waitForExit() == .status(0))
        try await gateway.close()
    }

    @Test func `stops at once when it is asked a second time, with status 0`() async throws {
        let gateway = try await GatewayUnderTest(grace: "5m")
        gateway.process.signal(SIGTERM)
        try await waitUntil("it is not ready any more") {
            try await curl(["\(gateway.url)/readyz"]).status == 503
        }
        gateway.process.signal(SIGTERM)
        #expect(try await gateway.process.waitForExit() == .status(0))
        try await gateway.close()
    }
}
