import APNSKit
import APNSWire
import NIOCore
import Testing

/// The decisions of the channel client, without a network.
@Suite struct `Channel client parts` {
    // MARK: What becomes of a call

    @Test func `what was turned away is sent again, elsewhere from the second time on, five times`() {
        var call = ChannelCallStateMachine()
        var actions: [ChannelCallStateMachine.Action] = []
        for _ in 0..<7 { actions.append(call.turnedAway()) }
        let again = ChannelCallStateMachine.Action.sendAgainOnNewConnection
        #expect(actions == [.sendAgain, again, again, again, again, .finish, .finish])
    }

    @Test(arguments: APNSReason.allCases, [false, true])
    func `of all answers only an expired token with a successor is asked again`(_ reason: APNSReason, hasNew: Bool) {
        var call = ChannelCallStateMachine()
        let expected: ChannelCallStateMachine.Action =
            reason == .expiredProviderToken && hasNew ? .sendAgainOnNewConnection : .finish
        let action = call.answered(reason, hasNewToken: hasNew)
        #expect(action == expected)
    }

    // MARK: Watch

    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private func watch() -> IdleConnectionPolicy {
        IdleConnectionPolicy(
            .init(
                pingInterval: .seconds(10), pingTimeout: .seconds(5), idleBeforeProbe: .seconds(60),
                idleTimeout: .seconds(300)
            ), now: Self.start
        )
    }

    @Test func `an unused connection is closed, a used one is not`() {
        var watch = watch()
        #expect(watch.look(streamsOpen: 0, now: Self.start + .seconds(299)) == .nothing)
        #expect(watch.look(streamsOpen: 0, now: Self.start + .seconds(300)) == .closeUnused)
        watch.hasUse(now: Self.start + .seconds(200))
        #expect(watch.look(streamsOpen: 0, now: Self.start + .seconds(300)) == .nothing)
    }

    @Test func `silence is asked about, and then given up`() {
        var watch = watch()
        watch.hasUse(now: Self.start + .seconds(1))
        #expect(watch.look(streamsOpen: 1, now: Self.start + .seconds(10)) == .nothing)
        #expect(watch.look(streamsOpen: 1, now: Self.start + .seconds(11)) == .ping)
        watch.pingSent(now: Self.start + .seconds(11))
        #expect(watch.look(streamsOpen: 1, now: Self.start + .seconds(15)) == .nothing)
        // Any byte is a sign of life, and buys the time of one more PING.
        watch.hasRead(now: Self.start + .seconds(15))
        #expect(watch.look(streamsOpen: 1, now: Self.start + .seconds(19)) == .nothing)
        #expect(watch.look(streamsOpen: 1, now: Self.start + .seconds(20)) == .giveUp)
        watch.pingAcknowledged()
        #expect(watch.look(streamsOpen: 1, now: Self.start + .seconds(24)) == .nothing)
    }

    @Test func `a connection that was silent for long must prove itself within two seconds`() {
        var watch = watch()
        let early = watch.mustProbe(streamsOpen: 0, now: Self.start + .seconds(59))
        #expect(!early)
        let withStreams = watch.mustProbe(streamsOpen: 1, now: Self.start + .seconds(60))
        #expect(!withStreams)
        let late = watch.mustProbe(streamsOpen: 0, now: Self.start + .seconds(60))
        #expect(late && watch.isProbing)
        watch.pingSent(now: Self.start + .seconds(60))
        let again = watch.mustProbe(streamsOpen: 0, now: Self.start + .seconds(61))
        #expect(!again)
        #expect(watch.look(streamsOpen: 0, now: Self.start + .seconds(61)) == .nothing)
        #expect(watch.look(streamsOpen: 0, now: Self.start + .seconds(62)) == .giveUp)
        watch.pingAcknowledged()
        #expect(!watch.isProbing)
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

    private func take(_ count: Int, into exchange: inout ChannelExchange) -> Bool {
        [UInt8](repeating: 0x20, count: count).withUnsafeBytes { exchange.bodyReceived($0) }
    }

    @Test func `a lost connection leaves in doubt only what was sent whole and not disowned`() {
        let lost = exchange().ending(lostBecause: .connectionReset, goAway: nil)
        #expect(lost == .ambiguous(.failed(.connectionReset, .ambiguous)))
        let unsent = exchange(isSent: false).ending(lostBecause: .connectionReset, goAway: nil)
        #expect(unsent == .turnedAway(.failed(.connectionReset, .neverWritten)))
        let above = exchange().ending(lostBecause: .goAway, goAway: (3, .shutdown))
        #expect(above == .turnedAway(APNSAnswer(outcome: .refused, reason: .shutdown, failure: .goAway)))
        let below = exchange().ending(lostBecause: .goAway, goAway: (5, .none))
        #expect(below == .ambiguous(.failed(.goAway, .ambiguous)))
    }

    @Test func `a closed stream is in doubt unless the server refused it`() {
        #expect(
            exchange().ending(isRefused: true, goAway: nil) == .turnedAway(.failed(.streamRefused, .refused)))
        #expect(exchange().ending(isRefused: false, goAway: nil) == .ambiguous(.failed(.streamReset, .ambiguous)))
        #expect(
            exchange(isSent: false).ending(isRefused: false, goAway: nil)
                == .ambiguous(.failed(.streamReset, .ambiguous)))
    }

    @Test func `once there is a status it stands`() {
        var cutOff = exchange(status: "201")
        cutOff.fieldReceived("apns-channel-id", "AAAA")
        guard case .answered(let response) = cutOff.ending(lostBecause: .connectionReset, goAway: nil) else {
            Issue.record("no answer")
            return
        }
        #expect(response.outcome == .created(ChannelID("AAAA")!))
        // An interim answer is none, and nothing of it counts.
        var interim = exchange(status: "103")
        interim.fieldReceived("apns-channel-id", "BBBB")
        #expect(interim.response == nil)
        interim.headersBegan()
        interim.fieldReceived(":status", "201")
        #expect(interim.response?.outcome == .malformed)
    }

    @Test func `a body has the size of an answer`() {
        var refusal = exchange(status: "400")
        #expect(take(4096, into: &refusal))
        #expect(!take(1, into: &refusal))
        #expect(!take(1, into: &refusal), "what is too long stays so")
        var list = exchange(.list, status: "200")
        #expect(take(ChannelResponse.bodyBytesMax, into: &list))
        #expect(!take(1, into: &list))
        #expect(list.response?.outcome == .malformed)
    }

    // MARK: Words

    @Test func `every error says what to do, and shows no channel`() throws {
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
                create: no answer (pingTimeout), APNs may have processed it. List the channels and compare with those you \
                know before you create another.
                """
        )
    }

    private func refusal(of operation: ChannelRequest.Operation) -> ChannelResponse {
        ChannelResponse(status: 400, headers: [], body: Array(#"{"reason":"NewReason"}"#.utf8), to: operation)
    }
}
