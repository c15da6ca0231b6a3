import APNSWire
import GodwitCLI
import Testing

@Suite struct `The summary of godwit send` {
    @Test func `results are counted and sorted by frequency`() throws {
        var summary = SendSummary()
        for _ in 0..<3 {
            summary.countResponse(
                try read("{\"status\":\"accepted\",\"msg_id\":\"\(APNSID.random())\"}"), of: Self.line, isPolled: true)
        }
        summary.countResponse(
            try read(#"{"status":"refused","code":2022,"error":"missing_field"}"#), of: Self.line, isPolled: false)
        for _ in 0..<2 { summary.count(try read(#"{"state":"delivered","code":0}"#)) }
        summary.count(try read(#"{"state":"rejected","code":3003,"reason":"BadDeviceToken"}"#))
        summary.acceptTime = .milliseconds(1500)
        summary.settleTime = .milliseconds(2250)
        #expect(
            summary.text == """
                3 of 4 pushes accepted in 1.5 s, 2/s; verdicts after 2.2 s

                  state      code  reason          pushes
                  delivered     0                       2
                  refused    2022  missing_field        1
                  rejected   3003  BadDeviceToken       1
                """
        )
        #expect(
            summary.json() == #"{"accepted":3,"refused":1,"accept_ms":1500,"settle_ms":2250,"outcomes":["#
                + #"{"state":"delivered","code":0,"reason":"","pushes":2},"#
                + #"{"state":"refused","code":2022,"reason":"missing_field","pushes":1},"#
                + #"{"state":"rejected","code":3003,"reason":"BadDeviceToken","pushes":1}]}"#
        )
        #expect(!summary.isSuccess)
    }

    @Test func `delivered, accepted and scheduled pushes are a success, all others are not`() throws {
        var summary = SendSummary()
        #expect(summary.isSuccess)
        summary.count(try read(#"{"state":"delivered"}"#))
        summary.count(2, state: "scheduled")
        #expect(summary.isSuccess)
        for state in ["expired", "unknown", "given_up", "waiting"] {
            var other = summary
            other.count(1, state: state)
            #expect(!other.isSuccess, "\(state)")
        }
        summary.failure = "the connection broke"
        #expect(!summary.isSuccess)
        #expect(summary.json(nextLine: 7).hasSuffix(#""failure":"the connection broke","next_line":7}"#))
    }

    @Test func `pushes without a verdict are described in the singular and the plural`() throws {
        #expect(SendSummary.noVerdict(1) == "1 push has no verdict yet")
        #expect(SendSummary.noVerdict(1200) == "1,200 pushes have no verdict yet")
        let id = try #require(APNSID("0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0000"))
        #expect(SendSummary.queryAdvice([id], url: nil) == "query it later with: godwit status \(id)")
        #expect(
            SendSummary.queryAdvice([id, id], url: "http://[::1]:1")
                == "query them later with: godwit status \(id) \(id) --url http://[::1]:1")
        #expect(SendSummary.queryAdvice([], url: nil) == "query them later with: godwit status")
    }

    @Test func `each rule of the lint is counted once, with the first push that violates it`() throws {
        var summary = SendSummary()
        func count(_ rules: [String], line: Int) throws {
            let warnings = rules.map { #"{"rule":"\#($0)","detail":"\#($0) is odd; change it"}"# }
                .joined(separator: ",")
            summary.countResponse(
                try read(#"{"status":"accepted","code":0,"warnings":[\#(warnings)]}"#),
                of: PushLine(number: line, token: ""), isPolled: true)
        }
        try count([], line: 1)
        try count(["sound", "badge"], line: 3)
        try count(["badge"], line: 4)
        #expect(
            summary.warningLines(isFile: true) == [
                "line 3: warning (sound): sound is odd; change it", "line 3: warning (badge): badge is odd; change it",
            ])
        #expect(summary.warningLines(isFile: false).first == "warning (sound): sound is odd; change it")
        #expect(summary.text.split(separator: "\n")[0].hasSuffix("; 2 kinds of warnings"))
        #expect(
            summary.json().contains(
                #","warnings":[{"rule":"sound","detail":"sound is odd; change it","line":3},{"rule""#))
        #expect(summary.isSuccess, "the pushes are accepted")
        for number in 0..<1000 { try count(["rule-\(number)"], line: 5) }
        #expect(summary.warnings.count == SendSummary.warningsMax)
    }

    @Test func `the headline of an early end has the total, if it is known`() throws {
        var summary = SendSummary()
        for _ in 0..<3 {
            summary.countResponse(try read(#"{"status":"accepted","code":0}"#), of: Self.line, isPolled: true)
        }
        summary.acceptTime = .seconds(1)
        summary.input = .partial(of: 2000)
        #expect(summary.text.hasPrefix("3 of 2,000 pushes accepted in 1.0 s, 3/s; 1,997 have no result"))
        summary.input = .unread
        #expect(summary.text.hasPrefix("3 pushes accepted in 1.0 s, 3/s; the rest of the input has no result"))
    }

    @Test func `stored responses are noted in the headline`() {
        var summary = SendSummary()
        summary.countChunk(isStored: true)
        #expect(summary.text == "0 of 0 pushes accepted in 0 ms (stored response: nothing was accepted again)")
        summary.countChunk(isStored: false)
        #expect(summary.storedNote == "stored response for 1 of 2 chunks: nothing of these was accepted again")
        var first = SendSummary()
        first.countChunk(isStored: false)
        #expect(first.storedNote == nil)
    }

    @Test func `pushes that are not listed are counted`() {
        #expect(SendSummary.moreNote("refused", listed: 20, of: 20, hasFile: false) == nil)
        #expect(
            SendSummary.moreNote("refused", listed: 20, of: 1234, hasFile: false)
                == "and 1,214 more refused; --results FILE keeps all")
        #expect(
            SendSummary.moreNote("waiting", listed: 1, of: 2, hasFile: true)
                == "and 1 more waiting; the results file has all")
    }

    @Test func `delayed pushes are counted by reason`() throws {
        var summary = SendSummary()
        for reason in ["paused", "paused", "backlog", "maintenance"] {
            summary.countResponse(
                try read("{\"status\":\"accepted\",\"code\":0,\"delayed\":\"\(reason)\"}"), of: Self.line,
                isPolled: true)
        }
        summary.countResponse(try read(#"{"status":"accepted","code":0}"#), of: Self.line, isPolled: true)
        #expect(
            summary.delayedLines == [
                "1 push is accepted and delayed: other pushes are ahead in the queue",
                "1 push is accepted and delayed: maintenance",
                "2 pushes are accepted and delayed: the app is paused; resume it with godwit resume",
            ])
        #expect(summary.json().contains(#""delayed":{"backlog":1,"maintenance":1,"paused":2}"#))
    }

    @Test func `the number of rows is bounded`() throws {
        var summary = SendSummary()
        for number in 0..<1000 {
            summary.count(try read("{\"state\":\"rejected\",\"code\":1,\"reason\":\"R\(number)\"}"))
        }
        #expect(summary.rows.count == SendSummary.rowsMax + 1)
        #expect(summary.rows.reduce(0) { $0 + $1.count } == 1000)
    }

    private static let line = PushLine(number: 1, token: "")

    private func read(_ text: String) throws -> ResponseLine {
        try ResponseLine(Array(text.utf8)[...])
    }
}
