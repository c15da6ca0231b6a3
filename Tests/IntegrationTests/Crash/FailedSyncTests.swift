import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

/// fdatasync fails, by strace.
@Suite(.serialized) struct `A failed sync` {
    /// The kernel reports a failed write once. A later sync of the same file succeeds although the data is lost.
    @Test(.timeLimit(.minutes(3)), arguments: [20, 22])
    func `is the last sync of the database and its log`(_ sync: Int) async throws {
        let gateway = try await GatewayUnderTest()
        #expect(try await gateway.stop() == .status(0))
        let trace = gateway.folder.path + "/trace"
        // Only the given sync fails.
        try await gateway.restart(under: [
            "strace", "-f", "-qq", "-y", "-o", trace, "-e", "trace=fdatasync,fsync", "-e",
            "inject=fdatasync:error=EIO:when=\(sync)",
        ])
        for _ in 0..<100 {
            let response = try? await curl([
                "\(gateway.url)/push", "-H", "Content-Type: application/json", "-d",
                #"{"device_token":"\#(String(repeating: "ab", count: 32))","payload":{"aps":{"alert":"x"}}}"#,
            ])
            guard response?.status == 200 else { break }
        }
        #expect(try await gateway.process.waitForExit(within: .seconds(60)) == .status(1))
        let calls = try String(contentsOfFile: trace, encoding: .utf8).split(separator: "\n")
        let failed = try #require(calls.firstIndex { $0.contains("INJECTED") })
        #expect(calls[..<failed].contains { $0.contains("godwit.sqlite-wal>") }, "the trace has no syncs of the log")
        let later = calls[(failed + 1)...].filter {
            $0.contains("/godwit.sqlite>") || $0.contains("/godwit.sqlite-wal>")
        }
        #expect(later == [])
        try await gateway.restart()
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }

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
