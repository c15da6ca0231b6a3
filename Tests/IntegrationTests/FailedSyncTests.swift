import APNSWire
import PushTesting
import Testing

/// A disk that fails to sync, by strace.
@Suite(.serialized) struct `A failed sync` {
    @Test(.timeLimit(.minutes(3)))
    func `the answer says that the outcome is unknown, and the process ends`() async throws {
        let gateway = try await GatewayUnderTest()
        #expect(try await gateway.stop() == .status(0))
        // The first syncs belong to the start; from some push on none succeeds.
        try await gateway.restart(under: [
            "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e",
            "inject=fdatasync:error=EIO:when=20+",
        ])
        var last: CurlAnswer?
        var accepted: [APNSID] = []
        for _ in 0..<100 {
            let answer = try await curl([
                "\(gateway.url)/push", "-H", "Content-Type: application/json", "-d",
                #"{"device_token":"\#(String(repeating: "ab", count: 32))","payload":{"aps":{"alert":"x"}}}"#,
            ])
            last = answer
            guard answer.status == 200 else { break }
            accepted += GatewayUnderTest.accepted(in: answer.body)
        }
        let refusal = try #require(last)
        #expect(refusal.status == 503)
        // The commit lies in the log although its sync failed: it would be a lie to say that nothing was accepted.
        #expect(GatewayUnderTest.value(of: "msg_id", in: refusal.body) != nil, "\(refusal.body)")
        #expect(try await gateway.process.waitForExit(within: .seconds(60)) == .status(1))

        try await gateway.restart()
        let states = try await gateway.settledStates(of: accepted)
        #expect(states == ["delivered": accepted.count])
        try await gateway.close()
    }
}
