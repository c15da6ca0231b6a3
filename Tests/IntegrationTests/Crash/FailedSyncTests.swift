import APNSSimulator
import APNSWire
import PushTesting
import Testing

/// A disk that fails to sync, by strace.
@Suite(.serialized) struct `A failed sync` {
    /// The sync of an outcome may be the first to fail, or that of a push: which one differs from run to run.
    @Test(.timeLimit(.minutes(3)), arguments: 20...23)
    func `what was refused without an id is not delivered, and the process ends`(_ sync: Int) async throws {
        let gateway = try await GatewayUnderTest()
        #expect(try await gateway.stop() == .status(0))
        // The first syncs belong to the start; from some push on none succeeds.
        try await gateway.restart(under: [
            "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e",
            "inject=fdatasync:error=EIO:when=\(sync)+",
        ])
        var last: CurlResponse?
        var accepted: [APNSID] = []
        for _ in 0..<100 {
            // When an outcome is the first to fail, the process may be gone before the next push.
            let answer = try? await curl([
                "\(gateway.url)/push", "-H", "Content-Type: application/json", "-d",
                #"{"device_token":"\#(String(repeating: "ab", count: 32))","payload":{"aps":{"alert":"x"}}}"#,
            ])
            last = answer
            guard let answer, answer.status == 200 else { break }
            accepted += GatewayUnderTest.accepted(in: answer.body)
        }
        #expect(last == nil || last?.status == 503)
        let refusal = last?.body ?? ""
        #expect(try await gateway.process.waitForExit(within: .seconds(60)) == .status(1))

        try await gateway.restart()
        let states = try await gateway.settledStates(of: accepted)
        #expect(states == ["delivered": accepted.count])
        // A commit whose sync failed lies in the log all the same and is found at the next start: it would be a lie to say
        // that nothing was accepted, so the answer names the push that may have been.
        let inDoubt = GatewayUnderTest.value(of: "msg_id", in: refusal).flatMap { APNSID($0) }
        let named = accepted + (inDoubt.map { [$0] } ?? [])
        let unnamed = Set(gateway.simulator.takenIDs()).subtracting(named)
        #expect(unnamed.isEmpty, "\(refusal)")
        try await gateway.close()
    }
}
