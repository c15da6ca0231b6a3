import APNSKit
import APNSWire
import NIOCore
import PushTesting
import Testing

@Suite struct `Reachability of APNs` {
    private static let refused = APNSConnectionFailure(.connectRefused)
    private static let silent = APNSConnectionFailure(.pingTimeout)
    private static let closed = APNSConnectionFailure(.connectionClosed)
    private static let foreign = APNSConnectionFailure(.notAPNs)

    /// Reachability with a clock that the test advances.
    private struct Model {
        var state = Reachability()
        /// Seconds.
        private(set) var now: Int64 = 0
        var outage: APNSOutage? { state.outage }

        static func time(_ seconds: Int64) -> UNIXTime { UNIXTime(secondsSince1970: 1_000_000 + seconds) }

        mutating func lost(_ failure: APNSConnectionFailure, showsOutage: Bool = true, hasOther: Bool = false) {
            state.lost(
                failure, showsOutage: showsOutage, hasOther: hasOther,
                now: .uptimeNanoseconds(UInt64(now) * 1_000_000_000),
                wall: Self.time(now))
        }

        mutating func acknowledgePing(hasPushes: Bool = false) {
            state.pingAcknowledged(hasPushes: hasPushes, now: .uptimeNanoseconds(UInt64(now) * 1_000_000_000))
        }

        mutating func answeredByOther(_ failure: APNSConnectionFailure) {
            state.answeredByOther(failure, wall: Self.time(now))
        }

        /// Lets time pass, as the client does while pushes wait, or while none does.
        mutating func wait(_ seconds: Int, hasPushes: Bool, ignoresPings: Bool = false) {
            for _ in 0..<seconds {
                if hasPushes { state.pushesWait(now: .uptimeNanoseconds(UInt64(now) * 1_000_000_000)) }
                now += 1
                let instant = NIODeadline.uptimeNanoseconds(UInt64(now) * 1_000_000_000)
                if hasPushes { state.pushesWait(now: instant) }
                _ = state.advance(now: instant, wall: Self.time(now), ignoresPings: ignoresPings)
            }
        }
    }

    @Test func `an outage keeps its start and has the last failure`() {
        var model = Model()
        model.lost(Self.refused)
        let dns = APNSConnectionFailure(.dns)
        model.wait(30, hasPushes: false)
        model.lost(dns)
        #expect(model.outage == APNSOutage(since: Model.time(0), failure: dns))
        #expect(model.state.failures == [.refused: 1, .nameNotResolved: 1])
    }

    @Test func `only what an operator can mend makes attempts rare`() {
        let causes = APNSConnectionFailure.Cause.allCases.filter(\.needsOperator)
        #expect(
            causes == [
                .certificateUntrusted, .certificateForOtherName, .certificateExpired, .certificateNotYetValid,
                .tlsRefused,
            ], "a handshake that ends early is the trouble of a load balancer")
    }

    @Test func `without pushes, an outage ends with an acknowledged PING or an answer`() {
        for isPing in [true, false] {
            var model = Model()
            model.lost(Self.silent)
            #expect(model.outage != nil)
            if isPing { model.acknowledgePing() } else { model.state.answered() }
            #expect(model.outage == nil)
        }
    }

    @Test func `a failure is no outage while another connection works`() {
        var model = Model()
        model.lost(Self.refused, hasOther: true)
        #expect(model.outage == nil && model.state.failures == [.refused: 1])
    }

    @Test func `a server that ends a connection is reachable until the next attempt fails`() {
        var model = Model()
        model.lost(Self.closed, showsOutage: false)
        #expect(model.outage == nil)
        model.wait(30, hasPushes: false)
        model.lost(Self.refused)
        #expect(model.outage == APNSOutage(since: Model.time(30), failure: Self.refused))
    }

    @Test func `answers that are not those of APNs are an outage until APNs answers`() {
        var model = Model()
        model.answeredByOther(Self.foreign)
        model.acknowledgePing()
        model.wait(90, hasPushes: false)
        model.lost(Self.closed, showsOutage: false)
        #expect(model.outage == APNSOutage(since: Model.time(0), failure: Self.foreign))
        model.state.answered()
        #expect(model.outage == nil)
    }

    // MARK: Pushes without an answer

    @Test func `pushes that wait without an answer are an outage after 12 seconds`() {
        var model = Model()
        model.wait(11, hasPushes: true)
        #expect(model.outage == nil)
        model.wait(1, hasPushes: true)
        #expect(model.outage?.since == Model.time(0))
        #expect(model.outage?.failure.cause == .unanswered && model.state.failures == [.unanswered: 1])
        // The server acknowledges PINGs.
        model.acknowledgePing(hasPushes: true)
        model.acknowledgePing()
        #expect(model.outage != nil)
        model.state.answered()
        #expect(model.outage == nil)
    }

    @Test func `connections that the server ends are an outage when they answer no push`() {
        var model = Model()
        for _ in 0..<12 {
            model.wait(1, hasPushes: true)
            model.lost(Self.closed, showsOutage: false)
        }
        #expect(model.outage?.since == Model.time(0) && model.outage?.failure.cause == .connectionClosed)
    }

    @Test func `silence after a PING is named`() {
        var model = Model()
        model.wait(12, hasPushes: true, ignoresPings: true)
        #expect(model.outage?.failure.cause == .pingTimeout)
    }

    @Test func `server errors are no life, and their reason is named`() {
        var model = Model()
        for _ in 0..<12 {
            model.wait(1, hasPushes: true)
            model.state.answeredWithError(status: 503, reason: .serviceUnavailable)
        }
        #expect(model.outage?.failure.cause == .serverError)
        #expect(model.outage?.failure.detail == "APNs answers pushes with 503 ServiceUnavailable")
        model.state.answeredWithError(status: 500, reason: .none)
        #expect(model.outage?.failure.detail == "APNs answers pushes with 500")
    }

    @Test func `an APNs that answers after six seconds is no outage`() {
        var model = Model()
        for _ in 0..<20 {
            model.wait(6, hasPushes: true)
            model.state.answered()
            #expect(model.outage == nil)
        }
    }

    @Test func `refusals of the credential are no outage`() {
        var model = Model()
        for _ in 0..<10 {
            model.wait(8, hasPushes: true)
            model.state.credentialRefused()
        }
        #expect(model.outage == nil)
    }

    @Test(arguments: [(5, true), (60, false)])
    func `rare pushes count only if they are close to each other`(_ pause: Int, _ isOutage: Bool) {
        var model = Model()
        for _ in 0..<6 {
            model.wait(3, hasPushes: true)
            model.wait(pause, hasPushes: false)
        }
        #expect((model.outage != nil) == isOutage)
    }

    @Test func `a lost push is no outage when the next one is answered`() {
        var model = Model()
        model.wait(1, hasPushes: true)
        model.lost(Self.closed, showsOutage: false)
        model.wait(20, hasPushes: false)
        model.wait(1, hasPushes: true)
        #expect(model.outage == nil, "the answer may be on its way")
        model.wait(1, hasPushes: true)
        #expect(model.outage?.since == Model.time(0))
    }

    @Test func `a quiet client is no outage`() {
        var model = Model()
        model.wait(7_200, hasPushes: false)
        #expect(model.outage == nil)
    }

    @Test func `an outage that a PING seemed to end goes on, and then ends with an answer only`() {
        var model = Model()
        model.lost(Self.refused)
        model.acknowledgePing()
        #expect(model.outage == nil)
        model.wait(12, hasPushes: true)
        #expect(model.outage?.since == Model.time(0))
        model.acknowledgePing()
        #expect(model.outage != nil)
    }

    @Test func `a minute without pushes ends any outage of a server that acknowledges PINGs`() {
        for isAcknowledged in [true, false] {
            var model = Model()
            model.wait(12, hasPushes: true)
            if isAcknowledged { model.acknowledgePing() }
            model.wait(59, hasPushes: false)
            #expect(model.outage != nil)
            model.wait(1, hasPushes: false)
            #expect((model.outage == nil) == isAcknowledged)
        }
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
