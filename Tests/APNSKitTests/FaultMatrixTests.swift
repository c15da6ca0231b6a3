import APNSKit
import APNSSimulator
import APNSWire
import HTTP2Session
import PushTesting
import Testing

/// The client against every fault of the simulator: each report must be true, and the client must recover after the
/// fault.
@Suite struct `Fault matrix` {
    /// What must happen to the pushes during the fault.
    enum Expectation: Sendable {
        /// All are accepted, each exactly once.
        case allAccepted
        /// Each has an answer.
        case allAnswered
        /// Some may have no answer; their reports are true.
        case someUnanswered
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var expected: Expectation
        var rules: [FaultRule] = []
        var settings: @Sendable (inout SimulatorSettings) -> Void = { _ in }
        var testDescription: String { name }
    }

    private static func rule(_ kind: Fault.Kind, isTaken: Bool = false, _ change: (inout FaultRule) -> Void)
        -> FaultRule
    {
        var rule = FaultRule(Fault(kind, isTaken: isTaken))
        change(&rule)
        return rule
    }

    /// Hits every 40th push, twelve times. Without the limit, every attempt of a push could fail.
    private static func sometimes(_ name: String, _ expected: Expectation, _ kind: Fault.Kind, isTaken: Bool = false)
        -> Case
    {
        Case(
            name: name, expected: expected,
            rules: [
                rule(kind, isTaken: isTaken) {
                    $0.every = 40
                    $0.times = 12
                }
            ]
        )
    }

    /// Hits once, in the middle of the traffic.
    private static func once(_ name: String, _ expected: Expectation, _ kind: Fault.Kind, isTaken: Bool = false) -> Case
    {
        Case(name: name, expected: expected, rules: [rule(kind, isTaken: isTaken) { $0.nth = 50 }])
    }

    private static let streamFaults: [Case] =
        (UInt32(0)...13).flatMap { number -> [Case] in
            let code = FaultErrorCode(rawValue: number)
            let isRefusal = code == .refusedStream
            return [
                sometimes("RST \(code) before headers", isRefusal ? .allAccepted : .someUnanswered, .reset(code)),
                // A 200 without an ID shows nothing: the push may have been taken.
                sometimes("RST \(code) after headers", .someUnanswered, .resetAfterHeaders(code), isTaken: true),
            ] + (isRefusal ? [] : [sometimes("RST \(code), taken", .someUnanswered, .reset(code), isTaken: true)])
        } + [
            sometimes("stall", .someUnanswered, .stall),
            sometimes("stall, taken", .someUnanswered, .stall, isTaken: true),
        ]

    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private static let goAways: [Case] = [
        once("GOAWAY, taken", .allAccepted, .goAway(lastStream: nil, code: .noError, debugData: []), isTaken: true),
        once("GOAWAY, not taken", .allAccepted, .goAway(lastStream: nil, code: .noError, debugData: [])),
        once(
            "GOAWAY with last ID 0 and JSON", .allAccepted,
            .goAway(lastStream: 0, code: .noError, debugData: bytes(#"{"reason":"Shutdown"}"#))
        ),
        once(
            "GOAWAY with plain text", .allAccepted,
            .goAway(lastStream: nil, code: .refusedStream, debugData: bytes("maximum active streams violated"))
        ),
        once(
            "GOAWAY with binary debug data", .allAccepted,
            .goAway(lastStream: nil, code: .enhanceYourCalm, debugData: [0xFF, 0, 0xFE])
        ),
        once("GOAWAY twice", .allAccepted, .goAwayTwice(lastStream: nil, code: .noError, debugData: [])),
        once(
            "GOAWAY in two steps", .allAccepted,
            .goAwayInTwoSteps(interval: .milliseconds(30), code: .noError, debugData: [])
        ),
        once(
            "GOAWAY before the answer", .allAccepted,
            .goAwayBeforeAnswer(answerDelay: .milliseconds(30), code: .noError, debugData: [])
        ),
        once(
            "503 Shutdown and GOAWAY", .allAnswered,
            .answerAndGoAway(FaultResponse(status: 503, reason: "Shutdown"), code: .noError, debugData: [])
        ),
        Case(
            name: "GOAWAY every 30th push", expected: .allAccepted,
            rules: [
                rule(.goAway(lastStream: nil, code: .noError, debugData: []), isTaken: true) {
                    $0.every = 30
                    // A push that is written each time is sent again as often as the client does so.
                    $0.times = 5
                }
            ]
        ),
        Case(
            name: "GOAWAY instead of SETTINGS", expected: .allAccepted,
            rules: [
                rule(.goAway(lastStream: nil, code: .noError, debugData: []), isTaken: true) { $0.nth = 10 },
                rule(.goAway(lastStream: 0, code: .noError, debugData: bytes(#"{"reason":"Shutdown"}"#))) {
                    $0.trigger = .connection
                    $0.times = 2
                },
            ]
        ),
    ]

    private static let connectionFaults: [Case] = [
        once("TCP close, taken", .someUnanswered, .close, isTaken: true), once("TCP close", .someUnanswered, .close),
        once("TCP reset, taken", .someUnanswered, .tcpReset, isTaken: true),
        once("TCP reset", .someUnanswered, .tcpReset),
        once("a connection that reads nothing", .someUnanswered, .blackHole(.readsNothing)),
        once("a connection that answers nothing", .someUnanswered, .blackHole(.answersNothing)),
        once("PINGs that are not acknowledged", .someUnanswered, .ignorePings),
        Case(
            name: "connections that are closed immediately", expected: .allAccepted,
            rules: [
                rule(.goAway(lastStream: nil, code: .noError, debugData: []), isTaken: true) { $0.nth = 10 },
                rule(.close) {
                    $0.trigger = .connection
                    $0.times = 3
                },
            ]
        ),
        Case(
            name: "connections that are reset immediately", expected: .allAccepted,
            rules: [
                rule(.goAway(lastStream: nil, code: .noError, debugData: []), isTaken: true) { $0.nth = 10 },
                rule(.tcpReset) {
                    $0.trigger = .connection
                    $0.times = 3
                },
            ]
        ),
        Case(name: "age limit", expected: .allAccepted, settings: { $0.connectionAgeMax = .milliseconds(200) }),
        Case(name: "idle limit", expected: .allAccepted, settings: { $0.idleTimeout = .milliseconds(400) }),
        Case(name: "one connection only", expected: .allAccepted, settings: { $0.connectionsMax = 1 }),
        Case(
            name: "a guard against rapid reconnects", expected: .allAccepted,
            rules: [
                rule(.goAway(lastStream: nil, code: .noError, debugData: []), isTaken: true) {
                    $0.every = 60
                    $0.times = 4
                }
            ],
            settings: {
                $0.connectionRate = .init(2, per: .milliseconds(500))
                $0.connectionPenalty = .milliseconds(300)
            }
        ),
    ]

    private static let flowFaults: [Case] = [
        once("stream limit falls to 1", .allAccepted, .settings(FaultSettings(streamsMax: 1))),
        once("small stream windows", .allAccepted, .settings(FaultSettings(initialWindowBytes: 50))),
        once("no header table", .allAccepted, .settings(FaultSettings(headerTableBytes: 0))),
        Case(
            name: "stream limit falls and rises", expected: .allAccepted,
            rules: [
                rule(.settings(FaultSettings(streamsMax: 1))) { $0.every = 60 },
                rule(.settings(FaultSettings(streamsMax: 1000))) { $0.every = 60 },
            ]
        ),
        Case(name: "few streams", expected: .allAccepted, settings: { $0.streamsMax = 3 }),
        Case(
            name: "over the limit: GOAWAY 7", expected: .allAccepted,
            rules: [rule(.settings(FaultSettings(streamsMax: 2))) { $0.nth = 60 }],
            settings: { $0.overLimit = .goAway }
        ),
        Case(
            name: "latency of 40 ms with jitter", expected: .allAccepted,
            settings: {
                $0.latency = .milliseconds(40)
                $0.jitter = .milliseconds(20)
            }),
        Case(name: "slow answers", expected: .allAccepted, settings: { $0.answerDelay = .milliseconds(150) }),
    ]

    private static let answers: [Case] = [
        sometimes("500", .allAnswered, .answer(FaultResponse(status: 500, reason: "InternalServerError"))),
        sometimes("503", .allAnswered, .answer(FaultResponse(status: 503, reason: "ServiceUnavailable"))),
        sometimes(
            "503 with Retry-After", .allAnswered,
            .answer(FaultResponse(status: 503, reason: "ServiceUnavailable", retryAfter: 7))
        ),
        sometimes(
            "429 with Retry-After", .allAnswered,
            .answer(FaultResponse(status: 429, reason: "TooManyRequests", retryAfter: 1))
        ),
        sometimes("an unknown reason", .allAnswered, .answer(FaultResponse(status: 400, reason: "MoonInWrongPhase"))),
        sometimes("an empty body", .allAnswered, .answer(FaultResponse(status: 502, body: []))),
        sometimes(
            "an HTML body", .allAnswered,
            .answer(FaultResponse(status: 502, body: bytes("<html>Bad Gateway</html>"), contentType: "text/html"))
        ),
        once("a body of 100 MiB", .allAnswered, .answer(FaultResponse(status: 500, bodyBytes: 100 << 20))),
        once(
            "a connection with only server errors", .allAnswered,
            .wedge(FaultResponse(status: 500, reason: "InternalServerError"))
        ),
        Case(
            name: "one stream after each rejection", expected: .allAnswered,
            rules: [rule(.answer(FaultResponse(status: 400, reason: "BadDeviceToken"))) { $0.every = 30 }],
            settings: { $0.dropsToOneStream = true }
        ),
        Case(
            name: "an error budget", expected: .allAnswered,
            rules: [rule(.answer(FaultResponse(status: 400, reason: "BadDeviceToken"))) { $0.every = 10 }],
            settings: { $0.errorBudget = 50 }
        ),
        Case(
            name: "an expired token that wedges", expected: .allAnswered,
            rules: [rule(.answer(FaultResponse(status: 403, reason: "ExpiredProviderToken"))) { $0.nth = 30 }],
            settings: { $0.wedgesOnExpiredToken = true }
        ),
    ]

    static let cases = streamFaults + goAways + connectionFaults + flowFaults + answers

    @Test(.timeLimit(.minutes(2)), arguments: cases)
    func `each report is true, and the next push is accepted`(_ one: Case) async throws {
        let pair = try await SimulatorPair(client: {
            $0.connectionsMax = 8
            $0.pingInterval = .milliseconds(200)
            $0.pingTimeout = .milliseconds(300)
            $0.stallTimeout = .seconds(1)
            $0.drainTimeout = .milliseconds(500)
        })
        #expect(await pair.client.send(Samples.batch(1, from: 1_000_000)) == [.accepted])
        try pair.simulator.changeSettings(one.settings)
        pair.simulator.setFaults(FaultPlan(one.rules))

        // Longer where every push must be accepted, so that a slow machine does not fail the test.
        let deadline: Duration = if case .someUnanswered = one.expected { .seconds(3) } else { .seconds(60) }
        let batches = (0..<4).map { Samples.batch(100, from: $0 * 1000) }
        let answers = await withTaskGroup(of: (Int, [APNSAnswer]).self) { group in
            for (number, batch) in batches.enumerated() {
                group.addTask { (number, await pair.client.send(batch, requestTimeout: deadline)) }
            }
            return await group.reduce(into: [Int: [APNSAnswer]]()) { $0[$1.0] = $1.1 }
        }

        // After the fault, the next push is accepted within two seconds.
        pair.simulator.setFaults(FaultPlan())
        try pair.simulator.changeSettings { $0 = SimulatorSettings() }
        let next = await pair.client.send(Samples.batch(1, from: 2_000_000), requestTimeout: .seconds(2))
        #expect(next == [.accepted])
        let snapshot = pair.client.snapshot()
        try await pair.stop()

        let taken = pair.simulator.takenIDs()
        let isTaken = Set(taken)
        #expect(isTaken.count == taken.count, "a push was accepted twice")
        for (number, batch) in batches.enumerated() {
            let reported = try #require(answers[number])
            #expect(reported.count == 100)
            for (index, answer) in reported.enumerated() {
                check(answer, isTaken: isTaken.contains(batch.id(at: index)), one)
            }
        }
        #expect(snapshot.answered + snapshot.ambiguous + snapshot.unsent == 402)
        #expect(snapshot.waiting == 0)
    }

    private func check(_ answer: APNSAnswer, isTaken: Bool, _ one: Case) {
        switch answer.disposition {
        case .answered: #expect(isTaken == (answer.status == 200), "\(answer)")
        case .refused, .neverWritten: #expect(!isTaken, "\(answer)")
        case .ambiguous: break
        }
        switch one.expected {
        case .allAccepted: #expect(answer == .accepted)
        case .allAnswered: #expect(answer.disposition == .answered, "\(answer)")
        case .someUnanswered: break
        }
    }
}
