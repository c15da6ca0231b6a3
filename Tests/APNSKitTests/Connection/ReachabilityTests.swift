import APNSKit
import APNSWire
import PushTesting
import Testing

@Suite struct `Reachability of APNs` {
    private static let refused = APNSConnectionFailure(.connectRefused)
    private static let silent = APNSConnectionFailure(.pingTimeout)
    private static let foreign = APNSConnectionFailure(.notAPNs)
    private static let time = UNIXTime(secondsSince1970: 1_000)
    private static let later = UNIXTime(secondsSince1970: 1_030)

    @Test func `an outage keeps its start and has the last failure`() {
        var reachability = Reachability()
        reachability.lost(Self.refused, showsOutage: true, hasOther: false, now: Self.time)
        let dns = APNSConnectionFailure(.dns)
        reachability.lost(dns, showsOutage: true, hasOther: false, now: Self.later)
        #expect(reachability.outage == APNSOutage(since: Self.time, failure: dns))
        #expect(reachability.failures == [.refused: 1, .nameNotResolved: 1])
    }

    @Test func `only what an operator can mend makes attempts rare`() {
        let causes = APNSConnectionFailure.Cause.allCases.filter(\.needsOperator)
        #expect(
            causes == [
                .certificateUntrusted, .certificateForOtherName, .certificateExpired, .certificateNotYetValid,
                .tlsRefused,
            ], "a handshake that ends early is the trouble of a load balancer")
    }

    @Test func `an outage ends with an acknowledged PING or an answer`() {
        for isPing in [true, false] {
            var reachability = Reachability()
            reachability.lost(Self.silent, showsOutage: true, hasOther: false, now: Self.time)
            #expect(reachability.outage != nil)
            if isPing { reachability.pingAcknowledged() } else { reachability.answered() }
            #expect(reachability.outage == nil)
        }
    }

    @Test func `a failure is no outage while another connection works`() {
        var reachability = Reachability()
        reachability.lost(Self.refused, showsOutage: true, hasOther: true, now: Self.time)
        #expect(reachability.outage == nil && reachability.failures == [.refused: 1])
    }

    @Test func `a server that ends a connection is reachable until the next attempt fails`() {
        var reachability = Reachability()
        reachability.lost(APNSConnectionFailure(.connectionClosed), showsOutage: false, hasOther: false, now: Self.time)
        #expect(reachability.outage == nil)
        reachability.lost(Self.refused, showsOutage: true, hasOther: false, now: Self.later)
        #expect(reachability.outage == APNSOutage(since: Self.later, failure: Self.refused))
    }

    @Test func `answers that are not those of APNs are an outage until APNs answers`() {
        var reachability = Reachability()
        reachability.answeredByOther(Self.foreign, now: Self.time)
        reachability.pingAcknowledged()
        reachability.lost(
            APNSConnectionFailure(.connectionClosed), showsOutage: false, hasOther: false, now: Self.later)
        #expect(reachability.outage == APNSOutage(since: Self.time, failure: Self.foreign))
        reachability.answered()
        #expect(reachability.outage == nil)
    }

    // MARK: With connections

    @Test func `a silent server is an outage until a connection has proved that it works`() async throws {
        var options = ScriptedServer.Options()
        // These connections get as far as SETTINGS, which is not enough.
        options.silentAfterSettings = [1, 2]
        let server = try await ScriptedServer(options) { peer, request in
            if peer.number > 0 || request.stream == 1 { peer.respond(request, 200) } else { peer.stopResponding() }
        }
        let client = try Samples.client(port: server.port) {
            $0.pingInterval = .milliseconds(100)
            $0.pingTimeout = .milliseconds(200)
        }
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        #expect(client.snapshot().outage == nil)
        #expect(await client.send(Samples.batch(1, from: 1)) == [.failed(.pingTimeout, .ambiguous)])
        try #require(client.snapshot().outage?.failure.cause == .pingTimeout)
        // No push is queued: the client looks for the end of the outage by itself.
        try await waitUntil("the end of the outage", every: .milliseconds(1)) { client.snapshot().outage == nil }
        #expect(server.connections >= 4)
        #expect(client.snapshot().failures[.pingTimeout] ?? 0 >= 3)
        await client.shutdown(grace: .zero)
    }
}
