import APNSSimulator
import APNSWire
import Foundation
import HTTP2Session
import PushTesting
import Testing

@Suite struct `Faults at frame level` {
    private func with(
        _ kind: Fault.Kind, isTaken: Bool = false, on trigger: FaultTrigger = .push,
        _ body: (RunningSimulator, RawClient) async throws -> Void
    ) async throws {
        var rule = FaultRule(Fault(kind, isTaken: isTaken))
        rule.times = 1
        rule.trigger = trigger
        try await RunningSimulator.with { running in
            running.simulator.setFaults(FaultPlan([rule]))
            try await RawClient.with(running) { try await body(running, $0) }
            #expect(running.simulator.counters.faultsByKind == [kind.name: 1])
        }
    }

    @Test(arguments: [0, 1, 2, 3, 5, 7, 8, 11, 13, 4_000_000_000] as [UInt32])
    func `a reset can have any code, before or after headers`(_ code: UInt32) async throws {
        try await with(.reset(FaultErrorCode(rawValue: code))) { running, client in
            client.push(1)
            try await client.wait("the reset") { !$0.frames(.reset, stream: 1).isEmpty }
            #expect(client.frames(.reset)[0].number == code && client.frames(.headers).isEmpty)
            client.push(3)
            #expect(try await client.awaitResponse(3) == "200")
            #expect(running.simulator.counters.streamsReset == 1)
        }
        try await with(.resetAfterHeaders(FaultErrorCode(rawValue: code)), isTaken: true) { running, client in
            client.push(1)
            try await client.wait("the reset") { !$0.frames(.reset, stream: 1).isEmpty }
            #expect(client.frames(.reset)[0].number == code)
            let headers = try #require(client.frames(.headers, stream: 1).first)
            #expect(headers.isSuccess && headers.flags == 4)
            client.push(3)
            #expect(try await client.awaitResponse(3) == "200")
            #expect(running.simulator.counters.taken == 2)
        }
    }

    @Test func `GOAWAY in two steps accepts pushes in between`() async throws {
        let kind = Fault.Kind.goAwayInTwoSteps(interval: .milliseconds(400), code: .noError, debugData: [])
        try await with(kind) { running, client in
            client.push(1)
            #expect(try await client.awaitResponse(1) == "200")
            try await client.wait("the first GOAWAY") { !$0.frames(.goAway).isEmpty }
            #expect(client.frames(.goAway)[0].goAway.last == 0x7FFF_FFFF)
            client.push(3)
            #expect(try await client.awaitResponse(3) == "200")
            try await client.wait("the second GOAWAY and the end") { $0.frames(.goAway).count == 2 && $0.isEnded }
            #expect(client.frames(.goAway)[1].goAway.last == 3)
            #expect(running.simulator.counters.goAwaysSent == 2)
        }
    }

    @Test func `GOAWAY can be sent twice, with JSON, plain text or no debug data`() async throws {
        let texts = [#"{"reason":"BadCertificateEnvironment"}"#, "Maximum active streams violated", ""]
        for text in texts {
            let kind = Fault.Kind.goAwayTwice(lastStream: 0, code: .noError, debugData: Array(text.utf8))
            try await with(kind) { running, client in
                client.push(1)
                try await client.wait("two GOAWAYs and the end") { $0.frames(.goAway).count == 2 && $0.isEnded }
                #expect(client.frames(.goAway).allSatisfy { $0.goAway == (0, 0, text) })
                #expect(client.response(1) == nil && running.simulator.counters.taken == 0)
            }
        }
    }

    @Test func `GOAWAY before SETTINGS`() async throws {
        let kind = Fault.Kind.goAway(lastStream: 0, code: .enhanceYourCalm, debugData: Array("later".utf8))
        try await with(kind, on: .connection) { _, client in
            try await client.wait("the end") { $0.isEnded }
            #expect(client.frames.first?.kind == .goAway)
            #expect(try #require(client.frames.first).goAway == (0, 11, "later"))
        }
    }

    @Test func `the response can follow GOAWAY`() async throws {
        let kind = Fault.Kind.goAwayBeforeAnswer(answerDelay: .milliseconds(100), code: .noError, debugData: [])
        try await with(kind) { _, client in
            client.push(1)
            #expect(try await client.awaitResponse(1) == "200")
            let kinds = client.frames.map(\.kind)
            let goAway = try #require(kinds.firstIndex(of: .goAway))
            #expect(goAway < (try #require(kinds.firstIndex(of: .headers))))
            try await client.wait("the end") { $0.isEnded }
        }
    }

    @Test func `a Shutdown response is followed by GOAWAY`() async throws {
        let kind = Fault.Kind.answerAndGoAway(
            FaultResponse(status: 503, reason: "Shutdown"), code: .noError, debugData: [])
        try await with(kind) { _, client in
            client.push(1)
            #expect(try await client.awaitResponse(1) == "Shutdown")
            try await client.wait("GOAWAY and the end") { !$0.frames(.goAway).isEmpty && $0.isEnded }
            #expect(client.frames(.goAway)[0].goAway.last == 1)
        }
    }

    @Test func `SETTINGS can change on an open connection`() async throws {
        let new = FaultSettings(streamsMax: 3, initialWindowBytes: 100, headerTableBytes: 0)
        try await with(.settings(new)) { _, client in
            client.push(1)
            #expect(try await client.awaitResponse(1) == "200")
            try await client.wait("SETTINGS") {
                $0.frames(.settings).last { !$0.isAcknowledgement }?.settings[4] == 100
            }
            let settings = try #require(client.frames(.settings).last { !$0.isAcknowledgement }).settings
            #expect(settings == [1: 0, 3: 3, 4: 100])
            // HPACK, RFC 7541 section 6.3: the client acknowledges the smaller table.
            client.push(3, body: nil, prefix: [0x20])
            client.send(.data, flags: 1, stream: 3, payload: Array(repeating: 0x20, count: 100))
            #expect(try await client.awaitResponse(3) == "200")
        }
    }

    @Test func `a black hole can send nothing, not even PING acknowledgements`() async throws {
        try await with(.blackHole(.answersNothing), isTaken: true) { running, client in
            client.push(1)
            try await waitUntil("the push") { running.simulator.counters.unanswered == 1 }
            client.send(.ping, payload: Array(repeating: 7, count: 8))
            client.push(3)
            try await waitUntil("the second push") { running.simulator.counters.taken == 2 }
            // Frames that it sent before may arrive late, such as the acknowledgement of SETTINGS.
            #expect(client.frames(.ping).isEmpty && client.frames(.headers).isEmpty && !client.isEnded)
        }
    }

    @Test func `a black hole can read nothing`() async throws {
        try await with(.blackHole(.readsNothing)) { running, client in
            client.push(1)
            try await waitUntil("the push") { running.simulator.counters.unanswered == 1 }
            for stream in stride(from: UInt32(3), to: 50, by: 2) { client.push(stream) }
            client.send(.ping, payload: Array(repeating: 7, count: 8))
            // Another connection shows that the server still works.
            #expect(try await running.push(headers: try running.goodHeaders()).status == 200)
            #expect(running.simulator.counters.requests == 2)
            #expect(client.frames(.ping).isEmpty && !client.isEnded)
        }
    }

    @Test func `a connection can be a black hole before TLS`() async throws {
        var rule = FaultRule(Fault(.blackHole(.readsNothing)))
        rule.trigger = .connection
        rule.connection = .exactly(1)
        try await RunningSimulator.with { running in
            running.simulator.setFaults(FaultPlan([rule]))
            let headers = try running.goodHeaders()
            let response = try await running.push(headers: headers, options: ["--max-time", "1"])
            #expect(response.exitStatus == 28 && response.status == 0)
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `ignored PINGs do not affect pushes`() async throws {
        try await with(.ignorePings) { _, client in
            client.send(.ping, payload: Array(repeating: 1, count: 8))
            try await client.wait("PING") { $0.frames(.ping).count == 1 }
            client.push(1)
            #expect(try await client.awaitResponse(1) == "200")
            client.send(.ping, payload: Array(repeating: 2, count: 8))
            client.push(3)
            #expect(try await client.awaitResponse(3) == "200")
            #expect(client.frames(.ping).count == 1)
        }
    }

    @Test func `a wedged connection responds with 500 to every push, other connections do not`() async throws {
        let wedge = Fault.Kind.wedge(FaultResponse(status: 500, reason: "InternalServerError"))
        try await with(wedge) { running, client async throws in
            for stream in [1, 3, 5] as [UInt32] {
                client.push(stream)
                #expect(try await client.awaitResponse(stream) == "InternalServerError")
            }
            #expect(try await running.push(headers: try running.goodHeaders()).status == 200)
        }
    }

    @Test func `a fault can apply before the body`() async throws {
        try await with(.reset(.cancel), on: .headers) { running, client in
            client.push(1, body: nil)
            try await client.wait("the reset") { !$0.frames(.reset, stream: 1).isEmpty }
            #expect(running.simulator.counters.requests == 0)
        }
        try await with(.answer(FaultResponse(status: 413, reason: "PayloadTooLarge")), on: .headers) {
            running, client async throws in
            client.push(1, body: nil)
            #expect(try await client.awaitResponse(1) == "PayloadTooLarge")
            client.send(.data, flags: 1, stream: 1, payload: [0x7B])
            client.push(3)
            #expect(try await client.awaitResponse(3) == "200")
            #expect(running.simulator.counters.requests == 1)
        }
    }

    @Test func `TCP can be reset after the body or closed before TLS`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            running.simulator.setFaults(FaultPlan([FaultRule(Fault(.tcpReset, isTaken: true))]))
            let reset = try await running.push(headers: headers)
            // CURLE_RECV_ERROR, or CURLE_SEND_ERROR if curl was still sending, with the text of the system error.
            #expect(
                [55, 56].contains(reset.exitStatus) && reset.errors.lowercased().contains("reset"), "\(reset.errors)")
            #expect(running.simulator.counters.taken == 1)
            var rule = FaultRule(Fault(.close))
            rule.trigger = .connection
            running.simulator.setFaults(FaultPlan([rule]))
            let closed = try await running.push(headers: headers)
            #expect(closed.exitStatus != 0 && closed.status == 0)
            #expect(running.simulator.counters.tlsFailures == 1)
        }
    }

    @Test func `a body of 100 MiB is sent without being held in memory`() async throws {
        try await RunningSimulator.with { running in
            let response = FaultResponse(status: 500, bodyBytes: 100 << 20, contentType: "text/html")
            running.simulator.setFaults(FaultPlan([FaultRule(Fault(.answer(response)))]))
            let before = try Self.residentBytes()
            let result = try await running.push(
                headers: try running.goodHeaders(),
                options: ["-o", "/dev/null", "-w", "%{size_download} %{content_type}"])
            #expect(result.exitStatus == 0, "\(result.errors)")
            #expect(result.text.hasSuffix("\(100 << 20) text/html"), "\(result.text.suffix(100))")
            #expect(try Self.residentBytes() - before < 40 << 20)
        }
    }

    /// The resident memory of this process, which contains the simulator.
    private static func residentBytes() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4096
    }
}

@Suite struct `Fault conditions` {
    private func hits(_ rule: FaultRule, _ candidates: [FaultCandidate]) -> [Int] {
        var plan = FaultPlan([rule])
        return candidates.indices.filter { plan.evaluate(candidates[$0]) != nil }.map { $0 + 1 }
    }

    private func rule(_ change: (inout FaultRule) -> Void) -> FaultRule {
        var rule = FaultRule(Fault(.stall))
        change(&rule)
        return rule
    }

    @Test func `rules match connections and requests by number`() {
        let candidates = (1...12).map {
            FaultCandidate(connection: UInt64(($0 - 1) / 4 + 1), requestOnConnection: ($0 - 1) % 4 + 1)
        }
        #expect(hits(rule { $0.connection = .exactly(2) }, candidates) == [5, 6, 7, 8])
        #expect(hits(rule { $0.connection = .every(3) }, candidates) == [9, 10, 11, 12])
        #expect(hits(rule { $0.connection = .first(1) }, candidates) == [1, 2, 3, 4])
        #expect(hits(rule { $0.connection = .from(3) }, candidates) == [9, 10, 11, 12])
        #expect(hits(rule { $0.requestOnConnection = .exactly(2) }, candidates) == [2, 6, 10])
        #expect(hits(rule { $0.request = .every(5) }, candidates) == [5, 10])
        #expect(hits(rule { ($0.connection, $0.requestOnConnection) = (.first(2), .from(4)) }, candidates) == [4, 8])
    }

    @Test func `rules have a start, a duration and a period`() {
        let candidates = (0...20).map { FaultCandidate(elapsed: .seconds($0)) }
        #expect(hits(rule { $0.after = .seconds(18) }, candidates) == [19, 20, 21])
        #expect(hits(rule { $0.duration = .seconds(2) }, candidates) == [1, 2])
        let window = rule { ($0.after, $0.duration, $0.repeatsEvery) = (.seconds(1), .seconds(2), .seconds(10)) }
        #expect(hits(window, candidates) == [2, 3, 12, 13])
    }

    @Test func `rules match only their trigger`() {
        var plan = FaultPlan([rule { $0.trigger = .connection }])
        #expect(plan.evaluate(FaultCandidate(trigger: .push)) == nil)
        #expect(plan.evaluate(FaultCandidate(trigger: .headers)) == nil)
        #expect(plan.evaluate(FaultCandidate(trigger: .connection)) != nil)
    }

    @Test func `token patterns match digits`() throws {
        let token: [UInt8] = [0xAB, 0xCD, 0x01, 0x23]
        for text in ["*", "abcd0123", "ABCD*", "*23", "a?cd*", "*cd*", "*b*0*3", "????????", "**3", "abcd0123*"] {
            #expect(try #require(TokenPattern(text)).matches(token), "\(text)")
        }
        for text in ["abcd012", "b*", "*24", "?????????", "*d1*", "abcd01234", "?"] {
            #expect(try #require(TokenPattern(text)).matches(token) == false, "\(text)")
        }
        #expect(try #require(TokenPattern("*")).matches([]))
        for text in ["", "xyz", "ab cd", String(repeating: "a", count: 201)] { #expect(TokenPattern(text) == nil) }
    }
}
