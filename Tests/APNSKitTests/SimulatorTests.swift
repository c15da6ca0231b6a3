import APNSKit
import APNSSimulator
import APNSWire
import Foundation
import HTTP2Session
import NIOCore
import NIOPosix
import PushTesting
import Testing

/// The client against the APNs simulator. They share only the HTTP/2 session.
@Suite struct `APNSClient and simulator` {
    private func fault(_ kind: Fault.Kind, isTaken: Bool = false, _ change: (inout FaultRule) -> Void = { _ in })
        -> FaultPlan
    {
        var rule = FaultRule(Fault(kind, isTaken: isTaken))
        change(&rule)
        return FaultPlan([rule])
    }

    @Test(arguments: [SimulatorConfiguration.Mode.faithful, .fast])
    func `every push arrives once and unchanged`(mode: SimulatorConfiguration.Mode) async throws {
        let pair = try await SimulatorPair(mode)
        let batches = (0..<5).map { Samples.batch(1000, from: $0 * 1000, payloadBytes: 200) }
        for batch in batches {
            #expect(await pair.client.send(batch, requestTimeout: .seconds(120)).allSatisfy { $0 == .accepted })
        }
        // The server allows one stream until the first valid token.
        #expect(pair.client.snapshot().streamsMax == 1000)
        // The simulator answers before it records a push; after its shutdown all pushes are recorded.
        try await pair.stop()
        let sent = batches.flatMap { batch in (0..<1000).map { batch.id(at: $0) } }
        let isEachTakenOnce = pair.simulator.takenIDs().sorted() == sent.sorted()
        #expect(isEachTakenOnce)
        for push in pair.simulator.pushes().prefix(100) {
            #expect(push.topic == "com.example.app")
            #expect(push.pushType == .alert)
            #expect(push.priority == .immediate)
            #expect(push.payload.count == 200)
        }
        #expect(pair.simulator.counters.connectionsAccepted == 1)
    }

    @Test func `every reason of APNs is recognized`() async throws {
        let pair = try await SimulatorPair()
        for reason in APNSReason.allCases {
            guard let status = reason.status, reason != .expiredProviderToken, reason != .tooManyProviderTokenUpdates
            else { continue }
            let answer = FaultResponse(
                status: status, reason: "\(reason)", timestamp: status == 410 ? 1_712_000_000_123 : nil)
            pair.simulator.setFaults(fault(.answer(answer)))
            let expected = APNSAnswer(
                disposition: .answered, status: status, reason: reason,
                tokenInvalidAtMilliseconds: status == 410 ? 1_712_000_000_123 : 0
            )
            #expect(await pair.client.send(Samples.batch(2)) == [expected, expected])
            #expect(pair.client.snapshot().credentialReason == (status == 403 && reason != .forbidden ? reason : .none))
            pair.simulator.setFaults(FaultPlan())
            #expect(await pair.client.send(Samples.batch(1)) == [.accepted])
            #expect(pair.client.snapshot().credentialReason == .none)
        }
        try await pair.stop()
    }

    @Test func `each token state has its reason`() async throws {
        let pair = try await SimulatorPair()
        func set(_ state: SimulatedTokenState, _ number: Int) {
            pair.simulator.setTokenState(state, of: DeviceToken(bytes: Samples.token(number))!)
        }
        set(.unregistered(at: 1_700_000_000_001), 0)
        set(.bad, 1)
        set(.otherTopic, 2)
        set(.expired(at: 1_700_000_000_002), 3)
        let answers = await pair.client.send(Samples.batch(5))
        #expect(
            answers.map(\.reason) == [.unregistered, .badDeviceToken, .deviceTokenNotForTopic, .expiredToken, .none])
        #expect(answers.map(\.status) == [410, 400, 400, 410, 200])
        #expect(answers.map(\.tokenInvalidAtMilliseconds) == [1_700_000_000_001, 0, 0, 1_700_000_000_002, 0])
        try await pair.stop()
    }

    // MARK: Credentials

    @Test func `the provider token is renewed in time, on the same connection`() async throws {
        let pair = try await SimulatorPair()
        for _ in 0..<5 {
            #expect(await pair.client.send(Samples.batch(50)).allSatisfy { $0 == .accepted })
            pair.time.advance(by: 3300)
        }
        #expect(pair.simulator.counters.connectionsAccepted == 1)
        try await pair.stop()
    }

    @Test func `an expired provider token is replaced on a new connection`() async throws {
        let pair = try await SimulatorPair()
        #expect(await pair.client.send(Samples.batch(50)).allSatisfy { $0 == .accepted })
        pair.simulator.setFaults(
            fault(.answer(FaultResponse(status: 403, reason: "ExpiredProviderToken"))) { $0.times = 1 }
        )
        let first = try pair.tokens.current()
        pair.time.advance(by: 1500)
        #expect(await pair.client.send(Samples.batch(50, from: 50)).allSatisfy { $0 == .accepted })
        #expect(pair.client.snapshot().requeued >= 1)
        #expect(try pair.tokens.current() != first)
        #expect(pair.simulator.counters.connectionsAccepted == 2)
        try await pair.stop()
    }

    @Test func `an unknown key is rejected and reported`() async throws {
        let unknownKey = try ProviderTokenKey(
            pem: SimulatorCredentials().privateKeyPEM, keyID: "DEMOKEY000", teamID: "DEMOTEAM00")
        let pair = try await SimulatorPair(client: {
            $0.credential = .token(ProviderTokenSource(key: unknownKey, clock: $0.clock))
        })
        let answers = await pair.client.send(Samples.batch(10))
        #expect(answers.allSatisfy { $0.status == 403 && $0.reason == .invalidProviderToken })
        #expect(pair.client.snapshot().credentialReason == .invalidProviderToken)
        try await pair.stop()
    }

    @Test func `an untrusted authority is rejected before anything is sent`() async throws {
        let pair = try await SimulatorPair(client: { $0.trustRoots = .file(TestCertificate.untrusted.certificatePath) })
        let answers = await pair.client.send(Samples.batch(3), requestTimeout: .milliseconds(1500))
        #expect(answers == [APNSAnswer](repeating: .failed(.tls, .neverWritten), count: 3))
        #expect(pair.simulator.counters.requests == 0)
        #expect(pair.simulator.counters.tlsFailures > 0)
        try await pair.stop()
    }

    // MARK: Faults

    @Test func `a stalled push ends at its deadline and does not delay the others`() async throws {
        let pair = try await SimulatorPair()
        #expect(await pair.client.send(Samples.batch(1)) == [.accepted])
        pair.simulator.setFaults(fault(.stall) { $0.tokenPrefix = Samples.token(3) })
        let answers = await pair.client.send(Samples.batch(10), requestTimeout: .milliseconds(700))
        for (index, answer) in answers.enumerated() {
            #expect(answer == (index == 3 ? .failed(.deadlineExceeded, .ambiguous) : .accepted))
        }
        #expect(await pair.client.send(Samples.batch(10, from: 100)).allSatisfy { $0 == .accepted })
        #expect(pair.simulator.counters.connectionsAccepted == 1)
        try await pair.stop()
    }

    @Test func `answers that arrived while the process was stopped count, although the time for them is over`()
        async throws
    {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let pair = try await SimulatorPair(group: group)
        #expect(await pair.client.send(Samples.batch(1)) == [.accepted])
        pair.simulator.setFaults(FaultPlan([FaultRule(Fault(.accept, delay: .milliseconds(500)))]))
        async let answers = pair.client.send(Samples.batch(1000, from: 1), requestTimeout: .seconds(3))
        try await waitUntil("the requests") { pair.simulator.counters.requests == 1001 }
        try await group.next().submit { Thread.sleep(forTimeInterval: 6) }.get()
        let late = await answers.count { $0 != .accepted }
        #expect(late == 0)
        try await pair.stop()
        try await group.shutdownGracefully()
    }

    @Test func `GOAWAY during a thousand pushes loses none and repeats none`() async throws {
        let pair = try await SimulatorPair()
        pair.simulator.setFaults(
            fault(.goAway(lastStream: nil, code: .noError, debugData: []), isTaken: true) { $0.every = 250 }
        )
        let batch = Samples.batch(1000)
        #expect(await pair.client.send(batch, requestTimeout: .seconds(120)).allSatisfy { $0.disposition == .answered })
        try await pair.stop()
        let isEachTakenOnce = pair.simulator.takenIDs().sorted() == (0..<1000).map { batch.id(at: $0) }
        #expect(isEachTakenOnce)
        #expect(pair.simulator.counters.connectionsAccepted >= 4)
    }

    /// Every report must be true under any fault: duplicates depend on this.
    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func `under random faults every report is true`(seed: UInt64) async throws {
        let pair = try await SimulatorPair()
        let kinds: [(Fault.Kind, Double)] = [
            (.close, 0.002), (.reset(.refusedStream), 0.05), (.reset(.internalError), 0.01),
            (.goAway(lastStream: nil, code: .noError, debugData: []), 0.004),
            (.answer(FaultResponse(status: 503, reason: "ServiceUnavailable")), 0.02), (.stall, 0.002),
        ]
        let rules = kinds.flatMap { kind, probability in
            [false, true].compactMap { isTaken -> FaultRule? in
                // A server that accepts a push and then refuses it would make a true report impossible.
                if isTaken, case .reset(.refusedStream) = kind { return nil }
                if isTaken, case .answer = kind { return nil }
                var rule = FaultRule(Fault(kind, isTaken: isTaken), seed: seed &* 31 &+ (isTaken ? 1 : 0))
                rule.probability = probability / 2
                return rule
            }
        }
        pair.simulator.setFaults(FaultPlan(rules))
        let batches = (0..<4).map { Samples.batch(500, from: $0 * 1000) }
        let answers = await withTaskGroup(of: (Int, [APNSAnswer]).self) { group in
            for (number, batch) in batches.enumerated() {
                group.addTask { (number, await pair.client.send(batch, requestTimeout: .seconds(5))) }
            }
            return await group.reduce(into: [Int: [APNSAnswer]]()) { $0[$1.0] = $1.1 }
        }
        let snapshot = pair.client.snapshot()
        try await pair.stop()
        let taken = pair.simulator.takenIDs()
        #expect(Set(taken).count == taken.count, "a push was accepted twice")
        for (number, batch) in batches.enumerated() {
            for (index, answer) in (answers[number] ?? []).enumerated() {
                let isTaken = taken.contains(batch.id(at: index))
                switch answer.disposition {
                case .answered: #expect(isTaken == (answer.status == 200))
                case .refused, .neverWritten: #expect(!isTaken, "\(answer)")
                case .ambiguous: break
                }
            }
            #expect(answers[number]?.count == 500)
        }
        #expect(snapshot.answered + snapshot.ambiguous + snapshot.unsent == 2000)
        #expect(snapshot.waiting == 0)
    }
}
