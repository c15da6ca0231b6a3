import APNSSimulator
import Foundation
import PushTesting
import Testing

/// The grace period of a stop.
@Suite struct `A gateway that is stopping` {
    private static let push = #"{"device_token":"00ff","payload":{"aps":{"alert":"late"}}}"#

    @Test func `is not ready and still serves until the grace period ends`() async throws {
        let gateway = try await GatewayUnderTest(grace: "4s")
        gateway.process.signal(SIGTERM)
        try await waitUntil("the gateway to be not ready") {
            try await curl(["\(gateway.url)/readyz"]).status == 503
        }
        let response = try await curl(["-H", "Content-Type: application/json", "-d", Self.push, "\(gateway.url)/push"])
        #expect(response.status == 200)
        #expect(try await gateway.process.waitForExit() == .status(0))
        #expect(gateway.simulator.counters.taken == 1)
        try await gateway.close()
    }

    @Test func `stops immediately with status 0 at the second signal`() async throws {
        let gateway = try await GatewayUnderTest(grace: "5m")
        gateway.process.signal(SIGTERM)
        try await waitUntil("the gateway to be not ready") {
            try await curl(["\(gateway.url)/readyz"]).status == 503
        }
        gateway.process.signal(SIGTERM)
        #expect(try await gateway.process.waitForExit() == .status(0))
        try await gateway.close()
    }
}
