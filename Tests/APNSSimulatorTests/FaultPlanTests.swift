import APNSSimulator
import APNSWire
import HTTP2Session
import Testing

@Suite struct `Fault plans` {
    private func hits(_ rule: FaultRule, of count: Int, token: [UInt8] = [0xAB, 0xCD], topic: String = "a") -> [Int] {
        var plan = FaultPlan([rule])
        return (1...count).filter { _ in plan.evaluate(FaultCandidate(token: token, topic: topic)) != nil }
    }

    private func rule(_ change: (inout FaultRule) -> Void = { _ in }) -> FaultRule {
        var rule = FaultRule(Fault(.stall))
        change(&rule)
        return rule
    }

    @Test func `a rule without conditions applies to every push`() {
        #expect(hits(rule(), of: 3) == [1, 2, 3])
    }

    @Test func `rules match token and topic`() {
        #expect(hits(rule { $0.tokenPrefix = [0xAB] }, of: 2) == [1, 2])
        #expect(hits(rule { $0.tokenPrefix = [0xCD] }, of: 2).isEmpty)
        #expect(hits(rule { $0.tokenPrefix = [0xAB, 0xCD, 0xEF] }, of: 2).isEmpty)
        #expect(hits(rule { $0.topic = "a" }, of: 2) == [1, 2])
        #expect(hits(rule { $0.topic = "b" }, of: 2).isEmpty)
    }

    @Test func `nth, every and times count matching pushes`() {
        #expect(hits(rule { $0.nth = 3 }, of: 9) == [3])
        #expect(hits(rule { $0.every = 4 }, of: 12) == [4, 8, 12])
        #expect(hits(rule { $0.times = 2 }, of: 9) == [1, 2])
        #expect(hits(rule { ($0.every, $0.times) = (3, 2) }, of: 30) == [3, 6])
    }

    @Test func `random selection depends only on the seed`() {
        func chosen(_ seed: UInt64, _ share: Double) -> [Int] {
            var rule = FaultRule(Fault(.close), seed: seed)
            rule.probability = share
            return hits(rule, of: 10_000)
        }
        #expect(chosen(1, 0.1) == chosen(1, 0.1))
        #expect(chosen(1, 0.1) != chosen(2, 0.1))
        #expect((900...1100).contains(chosen(1, 0.1).count))
        #expect(chosen(1, 0).isEmpty)
        #expect(chosen(1, 1).count == 10_000)
    }

    @Test func `the first rule that applies wins, and later rules do not count the push`() {
        var first = FaultRule(Fault(.stall))
        first.nth = 2
        var second = FaultRule(Fault(.close))
        second.nth = 2
        var plan = FaultPlan([first, second])
        let faults = (0..<4).map { _ in plan.evaluate(FaultCandidate(token: [1], topic: ""))?.kind }
        #expect(faults == [nil, .stall, .close, nil])
    }

    @Test func `every member of a document is parsed`() throws {
        let plan = try FaultPlan(
            document: Array(
                #"""
                {"rules": [
                  {"token": "abCD", "topic": "t", "nth": 1, "every": 2, "probability": 2.5e-1, "seed": 9, "times": 3,
                   "action": "answer", "status": 503, "reason": "Sh\u006ftdown", "retry_after": 4, "timestamp": 5,
                   "delay": "6ms", "taken": true},
                  {"action": "answer", "status": 500, "body": "<html>"},
                  {"action": "accept", "delay": "1ms"}, {"action": "stall"}, {"action": "close", "taken": true},
                  {"action": "reset"}, {"action": "reset", "code": "REFUSED_STREAM"},
                  {"action": "goaway"}, {"action": "goaway", "last_stream": 7, "code": 11, "debug": "calm"}
                ]}
                """#.utf8
            )
        )
        var first = FaultRule(
            Fault(
                .answer(FaultResponse(status: 503, reason: "Shotdown", retryAfter: 4, timestamp: 5)),
                delay: .milliseconds(6), isTaken: true
            ),
            seed: 9
        )
        first.tokenPrefix = [0xAB, 0xCD]
        first.topic = "t"
        (first.nth, first.every, first.times, first.probability) = (1, 2, 3, 0.25)
        #expect(plan.rules[0] == first)
        let faults: [Fault] = [
            Fault(.answer(FaultResponse(status: 500, body: Array("<html>".utf8)))),
            Fault(.accept, delay: .milliseconds(1)), Fault(.stall), Fault(.close, isTaken: true),
            Fault(.reset(.internalError)), Fault(.reset(.refusedStream)),
            Fault(.goAway(lastStream: nil, code: .noError, debugData: [])),
            Fault(.goAway(lastStream: 7, code: .enhanceYourCalm, debugData: Array("calm".utf8))),
        ]
        #expect(plan.rules.dropFirst().map(\.fault) == faults)
        #expect(try FaultPlan(document: Array(#"{"rules":[]}"#.utf8)).isEmpty)
    }

    static let wrong: [(String, String)] = [
        ("", "the document is empty"), ("{", "invalid JSON"), (#"{"rules":[]} x"#, "invalid JSON"),
        ("[]", "must be an object"), ("rules: [\n", "invalid YAML"),
        (
            "a: &a [\(Array(repeating: "x", count: 15_000).joined(separator: ","))]\nb: [*a,*a]",
            "more than 20000 values"
        ),
        // Nested aliases as a key: 2^40 parts, which the YAML library compares before values can be counted.
        (
            "? &-0 [x,x]\n: 1\n" + (0..<40).map { "? &-\($0 + 1) [*-\($0),*-\($0)]\n: 1\n" }.joined(),
            "more than 8 aliases"
        ),
        (#"{"rules":[{"action":"stall","delay":"999999999999999999999h"}]}"#, "at most a day"),
        (String(repeating: "[", count: 20) + String(repeating: "]", count: 20), "nested deeper"),
        ("{}", "no \"rules\""), (#"{"rules":{}}"#, "rules must be an array"),
        (#"{"rulez":[]}"#, "unknown member \"rulez\""),
        (#"{"rules":[1]}"#, "rules[0] must be an object"), (#"{"rules":[{}]}"#, "no \"action\""),
        (#"{"rules":[{"action":"stall"},{"action":"dance"}]}"#, "rules[1].action must be"),
        (#"{"rules":[{"action":"answer"}]}"#, "no \"status\""),
        (#"{"rules":[{"action":"answer","status":700}]}"#, "rules[0].status must be an integer from 200 to 599"),
        (#"{"rules":[{"action":"answer","status":"503"}]}"#, "rules[0].status must be an integer"),
        (#"{"rules":[{"action":"answer","status":503.5}]}"#, "rules[0].status must be an integer"),
        (#"{"rules":[{"action":"stall","status":503}]}"#, "the action stall does not support"),
        (#"{"rules":[{"action":"answer","status":503,"code":1}]}"#, "needs then_goaway: true"),
        (#"{"rules":[{"action":"stall","probability":2}]}"#, "a number from 0 to 1"),
        (#"{"rules":[{"action":"stall","token":"xy"}]}"#, "hexadecimal"),
        (#"{"rules":[{"action":"stall","nth":0}]}"#, "from 1 to"),
        (#"{"rules":[{"action":"stall","times":1,"times":2}]}"#, "duplicate member \"times\""),
        (#"{"rules":[{"action":"reset","code":"NOPE"}]}"#, "not an HTTP/2 error code"),
        (#"{"rules":[{"action":"goaway","last_stream":2}]}"#, "the odd ID of a client stream"),
        (
            #"{"rules":[\#(Array(repeating: #"{"action":"stall"}"#, count: 101).joined(separator: ","))]}"#,
            "more than 100"
        ),
    ]

    @Test func `a few aliases are allowed, and asterisks in text`() throws {
        let comment = "# a*b '*c' " + String(repeating: "\"*1\" ", count: 50)
        let yaml = "rules: [&a {action: stall, token_pattern: \"*0\"}, *a, *a] " + comment
        #expect(try FaultPlan(document: Array(yaml.utf8)).rules.count == 3)
    }

    @Test(arguments: wrong) func `an invalid document is rejected with its problem`(_ json: String, _ words: String) {
        let error = #expect(throws: ControlDocumentError.self) { try FaultPlan(document: Array(json.utf8)) }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }
}

@Suite struct `Logs and reason sets` {
    @Test func `a ring buffer keeps the newest elements and numbers from one`() {
        var ring = Ring<Int>(capacity: 3)
        #expect(ring.elements(after: 0, limit: 10).isEmpty)
        for number in 1...7 { ring.append(number) }
        #expect(ring.total == 7 && ring.firstNumber == 5)
        #expect(ring.elements(after: 0, limit: 10) == [5, 6, 7])
        #expect(ring.elements(after: 5, limit: 10) == [6, 7])
        #expect(ring.elements(after: 4, limit: 1) == [5])
        #expect(ring.elements(after: 5, limit: .max) == [6, 7])
        #expect(ring.elements(after: 7, limit: 10).isEmpty)
        #expect(ring.elements(after: .max, limit: .max).isEmpty)
        var none = Ring<Int>(capacity: 0)
        none.append(1)
        #expect(none.total == 1 && none.elements(after: 0, limit: 10).isEmpty)
    }

    @Test func `every reason has its own bit in a set`() {
        for reason in APNSReason.allCases {
            var set = ReasonSet()
            set.insert(reason)
            #expect(APNSReason.allCases.filter(set.contains) == [reason])
        }
        #expect(Set(ReasonSet.order).count == ReasonSet.order.count)
    }
}
