import APNSSimulator
import APNSWire
import PushTesting
import Testing

/// fdatasync fails, by strace.
@Suite(.serialized) struct `A failed sync` {
    /// The first failed sync can be that of a push or of an outcome; this differs between runs.
    @Test(.timeLimit(.minutes(3)), arguments: 20...23)
    func `ends the process, and pushes refused without an ID are not delivered`(_ sync: Int) async throws {
        let gateway = try await GatewayUnderTest()
        #expect(try await gateway.stop() == .status(0))
        // The first syncs belong to the start. From the given one on, all fail.
        try await gateway.restart(under: [
            "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e",
            "inject=fdatasync:error=EIO:when=\(sync)+",
        ])
        var last: CurlResponse?
        var accepted: [APNSID] = []
        for _ in 0..<100 {
            // If an outcome was the first to fail, the process may exit before the next push.
            let response = try? await curl([
                "\(gateway.url)/push", "-H", "Content-Type: application/json", "-d",
                #"{"device_token":"\#(String(repeating: "ab", count: 32))","payload":{"aps":{"alert":"x"}}}"#,
            ])
            last = response
            guard let response, response.status == 200 else { break }
            accepted += GatewayUnderTest.accepted(in: response.body)
        }
        #expect(last == nil || last?.status == 503)
        let refusal = last?.body ?? ""
        #expect(try await gateway.process.waitForExit(within: .seconds(60)) == .status(1))

        try await gateway.restart()
        let states = try await gateway.settledStates(of: accepted)
        #expect(states == ["delivered": accepted.count])
        // A commit whose sync failed may be in the write-ahead log and be read at the next start. The response
        // therefore has the ID of the push, which may or may not be accepted.
        let unconfirmed = GatewayUnderTest.value(of: "msg_id", in: refusal).flatMap { APNSID($0) }
        let named = accepted + (unconfirmed.map { [$0] } ?? [])
        let unnamed = Set(gateway.simulator.takenIDs()).subtracting(named)
        #expect(unnamed.isEmpty, "\(refusal)")
        try await gateway.close()
    }
}
