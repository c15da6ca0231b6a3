import APNSSimulator
import APNSWire
import Foundation
import HTTP2Session
import PushTesting
import Testing

@Suite struct `Faults with third-party clients` {
    /// The exit statuses of curl after a stream reset (`CURLE_HTTP2_STREAM`) and a timeout.
    static let streamReset: Int32 = 92
    static let timedOut: Int32 = 28

    private func nghttp(_ running: RunningSimulator, _ options: [String] = []) async throws -> String {
        var arguments = ["-v", "-H", ":method: POST"] + options
        for (name, value) in try running.goodHeaders() { arguments += ["-H", "\(name): \(value)"] }
        let payload = running.folder.appending(path: "payload.json")
        try Data(RunningSimulator.payload.utf8).write(to: payload)
        return try await Command.run("nghttp", arguments + ["-d", payload.path, running.url()]).output
    }

    @Test func `custom responses`() async throws {
        try await RunningSimulator.with { running in
            running.simulator.setFaults(
                FaultPlan([
                    FaultRule(Fault(.answer(FaultResponse(status: 503, reason: "ServiceUnavailable", retryAfter: 7))))
                ])
            )
            let headers = try running.goodHeaders()
            let response = try await running.push(headers: headers)
            #expect(response.status == 503 && response.reason == "ServiceUnavailable")
            #expect(response.headers["retry-after"] == "7")

            let html = FaultResponse(status: 500, body: Array("<html>".utf8))
            running.simulator.setFaults(FaultPlan([FaultRule(Fault(.answer(html)))]))
            let odd = try await running.push(headers: headers)
            #expect(odd.status == 500 && odd.body == "<html>")

            running.simulator.setFaults(FaultPlan([FaultRule(Fault(.answer(FaultResponse(status: 500))))]))
            let empty = try await running.push(headers: headers)
            #expect(empty.status == 500 && empty.body.isEmpty)
            #expect(running.simulator.counters.taken == 0)
            #expect(running.simulator.counters.answersByStatus == [500: 2, 503: 1])
        }
    }

    @Test func `a stalled push gets no response and can count as accepted`() async throws {
        try await RunningSimulator.with { running in
            running.simulator.setFaults(FaultPlan([FaultRule(Fault(.stall, isTaken: true))]))
            let response = try await running.push(headers: try running.goodHeaders(), options: ["--max-time", "1"])
            #expect(response.exitStatus == Self.timedOut && response.status == 0)
            #expect(running.simulator.counters.unanswered == 1)
            #expect(running.simulator.takenIDs() == [APNSID("0a1b2c3d-0000-4000-8000-000000000001")])
            #expect(running.simulator.pushes().map(\.status) == [0])
        }
    }

    @Test func `a reset ends the stream with its code`() async throws {
        try await RunningSimulator.with { running in
            running.simulator.setFaults(FaultPlan([FaultRule(Fault(.reset(.internalError)))]))
            let response = try await running.push(headers: try running.goodHeaders())
            #expect(response.exitStatus == Self.streamReset, "\(response.errors)")
            let trace = try await nghttp(running)
            #expect(trace.contains("RST_STREAM") && trace.contains("INTERNAL_ERROR"))
        }
    }

    @Test func `a closed connection leaves the client without a response`() async throws {
        try await RunningSimulator.with { running in
            var rule = FaultRule(Fault(.close))
            rule.times = 1
            running.simulator.setFaults(FaultPlan([rule]))
            let headers = try running.goodHeaders()
            let response = try await running.push(headers: headers)
            #expect(response.exitStatus != 0 && response.status == 0)
            #expect(running.simulator.counters.taken == 0)
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `GOAWAY refuses the push or follows its response`() async throws {
        try await RunningSimulator.with { running in
            let reason = Array(#"{"reason":"IdleTimeout"}"#.utf8)
            let fault = Fault.Kind.goAway(lastStream: nil, code: .noError, debugData: reason)
            running.simulator.setFaults(FaultPlan([FaultRule(Fault(fault))]))
            let refusing = try await nghttp(running)
            #expect(refusing.contains("GOAWAY") && refusing.contains("IdleTimeout"))
            #expect(!refusing.contains(":status: 200"))
            #expect(running.simulator.counters.taken == 0)

            running.simulator.setFaults(FaultPlan([FaultRule(Fault(fault, isTaken: true))]))
            // Two concurrent pushes, of which the first gets a 200. With a single one, nghttp does not wait for the
            // GOAWAY.
            let answering = try await nghttp(running, ["-m", "2"])
            #expect(answering.contains("GOAWAY") && answering.contains("IdleTimeout"))
            #expect(answering.components(separatedBy: ":status: 200").count == 2)
            #expect(running.simulator.counters.taken == 1)
        }
    }

    @Test func `delayed pushes get their responses`() async throws {
        let settings = RunningSimulator.settings { $0.answerDelay = .milliseconds(20) }
        try await RunningSimulator.with(settings) { running in
            let headers = try running.goodHeaders()
            #expect(try await running.push(headers: headers).status == 200)
            running.simulator.setFaults(FaultPlan([FaultRule(Fault(.accept, delay: .milliseconds(30)))]))
            #expect(try await running.push(headers: headers).status == 200)
            #expect(running.simulator.counters.taken == 2)
        }
    }

    @Test func `the stream limit is 1 before the first valid token and 1,000 after it`() async throws {
        try await RunningSimulator.with { running in
            let trace = try await nghttp(running)
            let first = try #require(trace.range(of: "[SETTINGS_MAX_CONCURRENT_STREAMS(0x03):1]"))
            let second = try #require(trace.range(of: "[SETTINGS_MAX_CONCURRENT_STREAMS(0x03):1000]"))
            #expect(first.lowerBound < second.lowerBound)
            for setting in [
                "HEADER_TABLE_SIZE(0x01):4096", "INITIAL_WINDOW_SIZE(0x04):65535", "MAX_HEADER_LIST_SIZE(0x06):8000",
            ] {
                #expect(trace.contains("[SETTINGS_\(setting)]"))
            }
        }
    }

    @Test func `without a valid token the stream limit stays 1`() async throws {
        try await RunningSimulator.with { running in
            let trace = try await Command.run("nghttp", ["-v", "-m", "3", "-H", ":method: POST", running.url()]).output
            // If nghttp receives the server's SETTINGS in time, it waits. Otherwise two streams are refused.
            let refused = trace.components(separatedBy: "error_code=REFUSED_STREAM").count - 1
            // Counters may be updated after the response.
            try await waitUntil("three requests are accounted for: \(trace)") {
                running.simulator.counters.requests + refused == 3
            }
            #expect(trace.contains(":status: 403"))
            #expect(!trace.contains("[SETTINGS_MAX_CONCURRENT_STREAMS(0x03):1000]"))
        }
    }
}
