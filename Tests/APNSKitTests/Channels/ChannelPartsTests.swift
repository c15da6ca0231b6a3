import APNSKit
import APNSWire
import HTTP2Session
import NIOCore
import Testing

/// The pure parts of the channel client.
@Suite struct `Channel client parts` {
    // MARK: Resending

    @Test func `an unprocessed call is sent again up to five times, on a new connection from the second time on`() {
        var call = ChannelCallStateMachine()
        var actions: [ChannelCallStateMachine.Action] = []
        for _ in 0..<7 { actions.append(call.notProcessed()) }
        let again = ChannelCallStateMachine.Action.sendAgainOnNewConnection
        #expect(actions == [.sendAgain, again, again, again, again, .finish, .finish])
    }

    @Test(arguments: APNSReason.allCases, [false, true])
    func `only a call with an expired token is sent again, if a new token is available`(
        _ reason: APNSReason, hasNew: Bool
    ) {
        var call = ChannelCallStateMachine()
        let expected: ChannelCallStateMachine.Action =
            reason == .expiredProviderToken && hasNew ? .sendAgainOnNewConnection : .finish
        let action = call.rejected(reason, hasNewToken: hasNew)
        #expect(action == expected)
    }

    // MARK: Idle policy

    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private func idlePolicy() -> IdleConnectionPolicy {
        IdleConnectionPolicy(
            .init(
                pingInterval: .seconds(10), pingTimeout: .seconds(5), idleBeforeProbe: .seconds(60),
                idleTimeout: .seconds(300)
            ), now: Self.start
        )
    }

    @Test func `an unused connection is closed, a used one is not`() {
        var policy = idlePolicy()
        #expect(policy.nextAction(streamsOpen: 0, now: Self.start + .seconds(299)) == .nothing)
        #expect(policy.nextAction(streamsOpen: 0, now: Self.start + .seconds(300)) == .closeUnused)
        policy.used(now: Self.start + .seconds(200))
        #expect(policy.nextAction(streamsOpen: 0, now: Self.start + .seconds(300)) == .nothing)
    }

    @Test func `a silent connection is pinged and then given up`() {
        var policy = idlePolicy()
        policy.used(now: Self.start + .seconds(1))
        #expect(policy.nextAction(streamsOpen: 1, now: Self.start + .seconds(10)) == .nothing)
        #expect(policy.nextAction(streamsOpen: 1, now: Self.start + .seconds(11)) == .ping)
        policy.pingSent(now: Self.start + .seconds(11))
        #expect(policy.nextAction(streamsOpen: 1, now: Self.start + .seconds(15)) == .nothing)
        // Any received byte restarts the PING timeout.
        policy.bytesReceived(now: Self.start + .seconds(15))
        #expect(policy.nextAction(streamsOpen: 1, now: Self.start + .seconds(19)) == .nothing)
        #expect(policy.nextAction(streamsOpen: 1, now: Self.start + .seconds(20)) == .giveUp)
        policy.pingAcknowledged()
        #expect(policy.nextAction(streamsOpen: 1, now: Self.start + .seconds(24)) == .nothing)
    }

    @Test func `a connection that was idle for long must acknowledge a PING within two seconds`() {
        var policy = idlePolicy()
        let early = policy.beginProbeIfIdle(streamsOpen: 0, now: Self.start + .seconds(59))
        #expect(!early)
        let withStreams = policy.beginProbeIfIdle(streamsOpen: 1, now: Self.start + .seconds(60))
        #expect(!withStreams)
        let late = policy.beginProbeIfIdle(streamsOpen: 0, now: Self.start + .seconds(60))
        #expect(late && policy.isProbing)
        policy.pingSent(now: Self.start + .seconds(60))
        let again = policy.beginProbeIfIdle(streamsOpen: 0, now: Self.start + .seconds(61))
        #expect(!again)
        #expect(policy.nextAction(streamsOpen: 0, now: Self.start + .seconds(61)) == .nothing)
        #expect(policy.nextAction(streamsOpen: 0, now: Self.start + .seconds(62)) == .giveUp)
        policy.pingAcknowledged()
        #expect(!policy.isProbing)
    }

    // MARK: Exchange

    private func exchange(
        _ operation: ChannelRequest.Operation = .create, stream: Int32 = 5, isSent: Bool = true, status: String? = nil
    ) -> ChannelExchange {
        var exchange = ChannelExchange(operation, stream: stream)
        exchange.isSent = isSent
        if let status {
            exchange.headersBegan()
            exchange.fieldReceived(":status", status)
        }
        return exchange
    }

    private func receive(_ count: Int, into exchange: inout ChannelExchange) -> Bool {
        [UInt8](repeating: 0x20, count: count).withUnsafeBytes { exchange.bodyReceived($0) }
    }

    private func connection(goAwayLast: Int32? = nil, _ debugData: String = "") -> ConnectionStateMachine {
        var connection = ConnectionStateMachine()
        guard let goAwayLast else { return connection }
        _ = connection.goAwayReceived(
            HTTP2GoAway(lastStream: goAwayLast, code: .noError, debugData: Array(debugData.utf8)))
        return connection
    }

    private func lost(
        _ exchange: ChannelExchange, _ failure: APNSAnswer.Failure, _ connection: ConnectionStateMachine? = nil
    ) -> ChannelExchange.Resolution {
        exchange.resolution(
            unanswered: (connection ?? self.connection()).answerForLostStream(
                exchange.stream, isSent: exchange.isSent, failure: failure))
    }

    private func closed(_ exchange: ChannelExchange, isRefused: Bool) -> ChannelExchange.Resolution {
        exchange.resolution(
            unanswered: connection().answerForClosedStream(exchange.stream, isSent: true, isRefused: isRefused))
    }

    @Test func `a lost connection makes only complete requests up to the last stream ID ambiguous`() {
        let sent = lost(exchange(), .connectionReset)
        #expect(sent == .ambiguous(.failed(.connectionReset, .ambiguous)))
        let unsent = lost(exchange(isSent: false), .connectionReset)
        #expect(unsent == .notProcessed(.failed(.connectionReset, .neverWritten)))
        let above = lost(exchange(), .goAway, connection(goAwayLast: 3, #"{"reason":"Shutdown"}"#))
        #expect(above == .notProcessed(APNSAnswer(disposition: .refused, reason: .shutdown, failure: .goAway)))
        let below = lost(exchange(), .goAway, connection(goAwayLast: 5))
        #expect(below == .ambiguous(.failed(.goAway, .ambiguous)))
    }

    @Test func `a closed stream is ambiguous unless the server refused it`() {
        #expect(
            closed(exchange(), isRefused: true) == .notProcessed(.failed(.streamRefused, .refused)))
        #expect(closed(exchange(), isRefused: false) == .ambiguous(.failed(.streamReset, .ambiguous)))
        #expect(
            closed(exchange(isSent: false), isRefused: false)
                == .ambiguous(.failed(.streamReset, .ambiguous)))
    }

    @Test func `a received status takes precedence over a missing rest`() {
        var cutOff = exchange(status: "201")
        cutOff.fieldReceived("apns-channel-id", "AAAA")
        guard case .answered(let response) = lost(cutOff, .connectionReset) else {
            Issue.record("no answer")
            return
        }
        #expect(response.disposition == .created(ChannelID("AAAA")!))
        // An interim response is discarded.
        var interim = exchange(status: "103")
        interim.fieldReceived("apns-channel-id", "BBBB")
        #expect(interim.response == nil)
        interim.headersBegan()
        interim.fieldReceived(":status", "201")
        #expect(interim.response?.disposition == .malformed)
    }

    @Test func `a body is limited to the size of a response`() {
        var refusal = exchange(status: "400")
        #expect(receive(4096, into: &refusal))
        #expect(!receive(1, into: &refusal))
        #expect(!receive(1, into: &refusal), "an oversized body stays oversized")
        var list = exchange(.list, status: "200")
        #expect(receive(ChannelResponse.bodyBytesMax, into: &list))
        #expect(!receive(1, into: &list))
        #expect(list.response?.disposition == .malformed)
    }

    // MARK: Error texts

    @Test func `every error has an action and contains no channel ID`() throws {
        let channel = ChannelID("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=")!
        let errors = try ChannelRequest.Operation.allCases.flatMap { operation in
            [
                APNSChannelError(.badBundleID, operation), APNSChannelError(.failed(.dns, .neverWritten), operation),
                APNSChannelError(.failed(.pingTimeout, .ambiguous), operation),
                try #require(APNSChannelError(refusal(of: operation), operation)),
            ]
        }
        for error in errors {
            #expect(error.action.hasSuffix("."), "\(error)")
            #expect(!"\(error)".contains(channel.text))
        }
        #expect(
            "\(APNSChannelError(.failed(.pingTimeout, .ambiguous), .create))" == """
                create: no answer (pingTimeout), APNs may have processed the request. List the channels and compare them with \
                your records before you create another.
                """
        )
    }

    private func refusal(of operation: ChannelRequest.Operation) -> ChannelResponse {
        ChannelResponse(status: 400, headers: [], body: Array(#"{"reason":"NewReason"}"#.utf8), to: operation)
    }
}
