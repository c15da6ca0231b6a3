import APNSWire
import GodwitCLI
import Testing

@Suite struct `Parts of godwit send` {
    // MARK: Lines

    @Test(arguments: 1...12)
    func `lines are put together from chunks of any size`(_ size: Int) throws {
        let text = Array("{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}".utf8)
        var splitter = LineSplitter()
        var lines: [String] = []
        for start in stride(from: 0, to: text.count, by: size) {
            try splitter.append(text[start..<min(text.count, start + size)]) {
                lines.append(String(decoding: $0, as: UTF8.self))
            }
        }
        try splitter.finish { lines.append(String(decoding: $0, as: UTF8.self)) }
        #expect(lines == ["{\"a\":1}", "{\"b\":2}\r", "{\"c\":3}"])
    }

    @Test func `a line that never ends is refused`() {
        var splitter = LineSplitter()
        let chunk = [UInt8](repeating: 0x20, count: LineSplitter.lineBytesMax + 1)
        #expect(throws: (any Error).self) { try splitter.append(chunk) { _ in } }
    }

    @Test(arguments: [1, 2, 3, 5, 7, 100])
    func `chunks of lines are cut at the same places whatever pieces they come in`(_ size: Int) throws {
        let text = Array("1234\n12\n123456789\n\n1\nend".utf8)
        var chunks = LineChunks(bytesMax: 10)
        var found: [String] = []
        for start in stride(from: 0, to: text.count, by: size) {
            chunks.append(text[start..<min(text.count, start + size)])
            while let chunk = try chunks.next() { found.append(String(decoding: chunk, as: UTF8.self)) }
        }
        if let chunk = chunks.last() { found.append(String(decoding: chunk, as: UTF8.self)) }
        #expect(found == ["1234\n12\n", "123456789\n", "\n1\nend"])
        #expect(chunks.last() == nil)
    }

    @Test(arguments: [1, 2, 3, 100])
    func `lines are counted whatever pieces they come in, without blank ones`(_ size: Int) {
        let text = Array("1234\n\n  \n12\r\n\r\n56".utf8)
        var lines = LineCount()
        for start in stride(from: 0, to: text.count, by: size) {
            lines.append(text[start..<min(text.count, start + size)])
        }
        #expect(lines.count == 3 && !lines.isAtEnd)
    }

    @Test func `a line that fits into no chunk is refused`() throws {
        var chunks = LineChunks(bytesMax: 10)
        chunks.append(Array("1234567890".utf8))
        #expect(try chunks.next() == nil)
        chunks.append(Array("\n".utf8))
        #expect(throws: GatewayFailure.self) { try chunks.next() }
    }

    @Test func `accepted pushes that wait are counted by what they wait for`() throws {
        var summary = SendSummary()
        for reason in ["paused", "paused", "backlog", "news"] {
            summary.countAnswer(
                try read("{\"status\":\"accepted\",\"code\":0,\"delayed\":\"\(reason)\"}"), isAskedFor: true)
        }
        summary.countAnswer(try read(#"{"status":"accepted","code":0}"#), isAskedFor: true)
        #expect(
            summary.delayedLines == [
                "1 push is accepted and will wait: others come first", "1 push is accepted and will wait: news",
                "2 pushes are accepted and will wait: the app is paused, until godwit resume",
            ])
        #expect(summary.json.contains(#""delayed":{"backlog":1,"news":1,"paused":2}"#))
    }

    @Test func `an accepted push has an id`() throws {
        let id = APNSID.random()
        let line = try read(
            "{\"index\":3,\"msg_id\":\"\(id)\",\"status\":\"accepted\",\"code\":0,\"timestamp\":1712000000}")
        #expect(line.id == id)
        #expect(line.state == "accepted")
    }

    @Test func `a refused push has a code, a name and a sentence`() throws {
        let line = try read(
            #"{"index":0,"status":"refused","code":2022,"error":"missing_field","detail":"no \"app\""}"#)
        #expect(line.id == nil)
        #expect((line.state, line.code, line.reason) == ("refused", 2022, "missing_field"))
        #expect(line.detail == "no \"app\"")
    }

    @Test func `APNs' own reason goes before the name of our code`() throws {
        for line in [
            #"{"state":"rejected","code":3003,"error":"bad_device_token","reason":"BadDeviceToken"}"#,
            #"{"reason":"BadDeviceToken","state":"rejected","code":3003,"error":"bad_device_token"}"#,
        ] {
            #expect(try read(line).reason == "BadDeviceToken")
        }
    }

    @Test func `only waiting states are unsettled`() throws {
        for state in ["queued", "scheduled", "sending", "retrying", "unavailable"] {
            #expect(try !read("{\"state\":\"\(state)\"}").isSettled)
        }
        for state in ["delivered", "rejected", "expired", "cancelled", "suppressed", "given_up", "unknown"] {
            #expect(try read("{\"state\":\"\(state)\"}").isSettled)
        }
    }

    @Test(arguments: ["", "[1]", "<html>", "{\"state\":", "null"])
    func `what is not a gateway's line is an error`(_ text: String) {
        #expect(throws: (any Error).self) { try read(text) }
    }

    @Test func `an error document speaks through its detail`() {
        #expect(
            Problem(Array(#"{"title":"Bad Request","status":400,"detail":"not JSON at byte 3"}"#.utf8)).text
                == "not JSON at byte 3")
        #expect(Problem(Array(#"{"title":"Not Found"}"#.utf8)).text == "Not Found")
        #expect(Problem(Array("<html>".utf8)).text == nil)
    }

    private func read(_ text: String) throws -> ResponseLine {
        try ResponseLine(Array(text.utf8)[...])
    }

    // MARK: What is pending

    @Test func `pushes are asked for in turn until each has a verdict`() {
        var pending = PendingPushes()
        for low in 0..<10_000 { pending.append(APNSID(high: 1, low: UInt64(low))) }
        var asked: Set<UInt64> = []
        while !pending.isEmpty {
            let taken = pending.take(upTo: 300)
            // Each time one of the ids that were asked for has no verdict yet.
            let left = taken.prefix(taken.count > 1 ? 1 : 0)
            for id in taken.dropFirst(left.count) { asked.insert(id.low) }
            pending.putBack(Array(left), scheduled: 0, settled: taken.count - left.count)
        }
        #expect(asked.count == 10_000)
    }

    @Test func `a round without news is noticed, and when only the future is left`() {
        var pending = PendingPushes()
        for low in 0..<4 { pending.append(APNSID(high: 1, low: UInt64(low))) }
        pending.putBack(pending.take(upTo: 2), scheduled: 2, settled: 0)
        #expect(!pending.isIdle)
        pending.putBack(pending.take(upTo: 2), scheduled: 1, settled: 0)
        #expect(pending.isIdle && !pending.isAllScheduled)
        pending.putBack(pending.take(upTo: 4), scheduled: 4, settled: 0)
        #expect(pending.isAllScheduled)
        pending.putBack(Array(pending.take(upTo: 4).dropLast()), scheduled: 3, settled: 1)
        #expect(!pending.isIdle)
    }

    // MARK: Summary

    @Test func `outcomes are counted and the most frequent stand first`() throws {
        var summary = SendSummary()
        for _ in 0..<3 {
            summary.countAnswer(
                try read("{\"status\":\"accepted\",\"msg_id\":\"\(APNSID.random())\"}"), isAskedFor: true)
        }
        summary.countAnswer(try read(#"{"status":"refused","code":2022,"error":"missing_field"}"#), isAskedFor: false)
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
            summary.json == #"{"accepted":3,"refused":1,"accept_ms":1500,"settle_ms":2250,"outcomes":["#
                + #"{"state":"delivered","code":0,"reason":"","pushes":2},"#
                + #"{"state":"refused","code":2022,"reason":"missing_field","pushes":1},"#
                + #"{"state":"rejected","code":3003,"reason":"BadDeviceToken","pushes":1}]}"#
        )
        #expect(!summary.isGood)
    }

    @Test func `all is well when every push was delivered, accepted or waits for its time`() throws {
        var summary = SendSummary()
        #expect(summary.isGood)
        summary.count(try read(#"{"state":"delivered"}"#))
        summary.count(2, state: "scheduled")
        #expect(summary.isGood)
        for state in ["expired", "unknown", "given_up", "unsettled"] {
            var other = summary
            other.count(1, state: state)
            #expect(!other.isGood, "\(state)")
        }
        summary.failure = "the connection broke"
        #expect(!summary.isGood)
    }

    @Test func `reasons that never repeat do not fill the memory`() throws {
        var summary = SendSummary()
        for number in 0..<1000 {
            summary.count(try read("{\"state\":\"rejected\",\"code\":1,\"reason\":\"R\(number)\"}"))
        }
        #expect(summary.rows.count == SendSummary.rowsMax + 1)
        #expect(summary.rows.reduce(0) { $0 + $1.count } == 1000)
    }

    // MARK: WorkProgress

    @Test func `the bar takes the capacity that the figures leave`() {
        let progress = WorkProgress(phase: "accepting", fraction: 0.5, count: 100_000, elapsed: .seconds(2))
        #expect(
            progress.line(width: 79)
                == "accepting [============            ]  50%  100,000 pushes  50,000/s  2.0 s left"
        )
        #expect(progress.line(width: 30) == "accepting   50%  100,000 pushe")
        for width in 0..<200 { #expect(progress.line(width: width).count <= width) }
    }

    @Test func `without a known end there are figures only`() {
        let progress = WorkProgress(phase: "accepting", fraction: nil, count: 1234, elapsed: .zero)
        #expect(progress.line(width: 80) == "accepting  1,234 pushes  0/s")
    }

    @Test func `figures are grouped and times are short`() {
        #expect([0, 999, 1000, -1_234_567].map(\.grouped) == ["0", "999", "1,000", "-1,234,567"])
        let times: [Duration] = [.milliseconds(12), .milliseconds(3450), .seconds(310)]
        #expect(times.map(\.short) == ["12 ms", "3.4 s", "5 min 10 s"])
    }
}
