import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `Connections and their end` {
    @Test func `too many errors end a connection, bad tokens sooner and 410 never`() async throws {
        let settings = RunningSimulator.settings {
            $0.errorBudget = 7
            $0.badTokenWeight = 5
        }
        try await RunningSimulator.with(settings) { running in
            running.simulator.setTokenRules([
                TokenRule(try #require(TokenPattern("00*")), .unregistered(at: 1)),
                TokenRule(try #require(TokenPattern("ff*")), .bad),
            ])
            try await RawClient.with(running) { client in
                client.push(1)
                _ = try await client.answered(1)
                for stream in stride(from: UInt32(3), to: 33, by: 2) {
                    client.push(stream, path: "/3/device/00aa")
                    #expect(try await client.answered(stream) == "Unregistered")
                }
                client.push(41, path: "/3/device/ffaa")
                client.push(43, changes: ["apns-priority": "3"])
                #expect(try await client.answered(43) == "BadPriority")
                #expect(client.frames(.goAway).isEmpty)
                client.push(45, changes: ["apns-priority": "3"])
                #expect(try await client.answered(45) == "BadPriority")
                try await client.wait("GOAWAY and the end") { !$0.frames(.goAway).isEmpty && $0.isEnded }
                let goAway = client.frames(.goAway)[0].goAway
                #expect(goAway.last == 45 && goAway.code == 0)
            }
            #expect(running.simulator.counters.goAwaysSent == 1)
        }
    }

    @Test func `rapid reconnects are turned away for a while`() async throws {
        let settings = RunningSimulator.settings {
            $0.connectionRate = .init(3, per: .seconds(60))
            $0.connectionPenalty = .seconds(600)
        }
        try await RunningSimulator.with(settings) { running in
            let headers = try running.goodHeaders()
            for _ in 1...3 { #expect(try await running.push(headers: headers).status == 200) }
            for _ in 1...2 {
                let refused = try await running.push(headers: headers)
                #expect(refused.exitStatus != 0 && refused.status == 0, "\(refused.errors)")
            }
            #expect(running.simulator.counters.connectionsRefused == 2)
            #expect(running.simulator.counters.connectionsAccepted == 3)
            try running.simulator.changeSettings { $0.connectionRate = nil }
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `there are no more connections than allowed`() async throws {
        let settings = RunningSimulator.settings { $0.connectionsMax = 1 }
        try await RunningSimulator.with(settings) { running in
            let headers = try running.goodHeaders()
            try await RawClient.with(running) { client in
                client.push(1)
                _ = try await client.answered(1)
                #expect(try await running.push(headers: headers).exitStatus != 0)
            }
            try await waitUntil("the first one's end") { running.simulator.counters.connectionsOpen == 0 }
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `an idle connection is told so and ends`() async throws {
        let settings = RunningSimulator.settings { $0.idleTimeout = .milliseconds(200) }
        try await RunningSimulator.with(settings) { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.answered(1) == "200")
                try await client.wait("the end") { $0.isEnded }
                let goAway = try #require(client.frames(.goAway).first?.goAway)
                #expect(goAway.last == 1 && goAway.code == 0 && goAway.debug == #"{"reason":"IdleTimeout"}"#)
            }
        }
    }

    @Test func `an old connection ends, busy or not`() async throws {
        try await RunningSimulator.with { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.answered(1) == "200")
                client.push(3, body: nil)
                // Settings reach connections that are open already.
                try running.simulator.changeSettings { $0.connectionAgeMax = .milliseconds(50) }
                try await client.wait("GOAWAY") { !$0.frames(.goAway).isEmpty }
                #expect(!client.isEnded)
                client.send(.data, flags: 1, stream: 3, payload: [0x7B])
                #expect(try await client.answered(3) == "200")
                try await client.wait("the end") { $0.isEnded }
            }
        }
    }

    @Test func `a client without ALPN can be turned away`() async throws {
        let settings = RunningSimulator.settings { $0.acceptsPriorKnowledge = false }
        try await RunningSimulator.with(settings) { running in
            let headers = try running.goodHeaders()
            let answer = try await running.push(
                headers: headers, options: ["--no-alpn", "--http2-prior-knowledge", "--max-time", "10"])
            #expect(answer.exitStatus != 0 && answer.status == 0)
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `everything takes a round trip, PING included`() async throws {
        let settings = RunningSimulator.settings {
            $0.latency = .milliseconds(300)
            $0.jitter = .milliseconds(50)
        }
        try await RunningSimulator.with(settings) { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.answered(1) == "200")
                let start = ContinuousClock.now
                client.send(.ping, payload: [1, 2, 3, 4, 5, 6, 7, 8])
                try await client.wait("PING") { !$0.frames(.ping).isEmpty }
                #expect(ContinuousClock.now - start >= .milliseconds(300))
                // Shorter again, and still in order.
                client.push(3)
                try running.simulator.changeSettings { ($0.latency, $0.jitter) = (.zero, .zero) }
                client.push(5)
                #expect(try await client.answered(5) == "200")
                #expect(client.answer(3) == "200")
            }
        }
    }

    @Test func `over a long line pushes are limited by streams, not by the server`() async throws {
        let settings = RunningSimulator.settings(.fast) { $0.latency = .milliseconds(100) }
        try await RunningSimulator.with(settings) { running in
            var arguments = ["-n", "400", "-c", "1", "-m", "100", "-d", try running.payloadFile()]
            for (name, value) in try running.goodHeaders() { arguments += ["-H", "\(name): \(value)"] }
            let start = ContinuousClock.now
            let result = try await Command.run("h2load", arguments + [running.url()])
            #expect(result.output.contains("400 succeeded, 0 failed"), "\(result.output)")
            // Four rounds of a hundred, and TLS before them.
            #expect(ContinuousClock.now - start >= .milliseconds(500))
        }
    }

    @Test(arguments: [50, 150]) func `a long line carries many pushes of 1 KiB`(_ milliseconds: Int) async throws {
        let settings = RunningSimulator.settings(.fast) {
            $0.latency = .milliseconds(milliseconds)
            $0.jitter = .milliseconds(5)
        }
        try await RunningSimulator.with(settings) { running in
            let payload = try running.payloadFile("{\"aps\":{\"alert\":\"\(String(repeating: "x", count: 1000))\"}}")
            var arguments = ["-n", "60000", "-c", "8", "-m", "1000", "-w", "20", "-W", "24", "-d", payload]
            for (name, value) in try running.goodHeaders() { arguments += ["-H", "\(name): \(value)"] }
            let result = try await Command.run("h2load", arguments + [running.url()])
            #expect(result.output.contains("60000 succeeded, 0 failed"), "\(result.output)")
            #expect(running.simulator.counters.taken == 60_000)
        }
    }
}

@Suite struct `Requests and their checks` {
    @Test func `one device is pushed to only so often`() async throws {
        let settings = RunningSimulator.settings { $0.requestsPerToken = .init(2, per: .seconds(3600)) }
        try await RunningSimulator.with(settings) { running in
            let headers = try running.goodHeaders()
            for _ in 1...2 { #expect(try await running.push(headers: headers).status == 200) }
            let answer = try await running.push(headers: headers)
            #expect(answer.status == 429 && answer.reason == "TooManyRequests")
            #expect(try await running.push("/3/device/abcd", headers: headers).status == 200)
        }
    }

    @Test func `the order of checks can be turned round`() async throws {
        try await RunningSimulator.with { running in
            var headers = try running.goodHeaders()
            headers["authorization"] = nil
            #expect(try await running.push("/3/device/xyz", headers: headers).reason == "MissingProviderToken")
            running.simulator.setTokenState(.unregistered(at: 5), of: try #require(DeviceToken(hex: "abcd")))
            #expect(try await running.push("/3/device/abcd", headers: headers).reason == "MissingProviderToken")
            try running.simulator.changeSettings { $0.validationOrder = .tokenFirst }
            #expect(try await running.push("/3/device/xyz", headers: headers).reason == "BadDeviceToken")
            let gone = try await running.push("/3/device/abcd", headers: headers)
            #expect(gone.status == 410 && gone.body == #"{"reason":"Unregistered","timestamp":5}"#)
        }
    }

    @Test func `tokens may change as often as they like when the rule is off`() async throws {
        for limits in [true, false] {
            let settings = RunningSimulator.settings { $0.limitsTokenUpdates = limits }
            try await RunningSimulator.with(settings) { running in
                try await RawClient.with(running) { client in
                    client.push(1)
                    _ = try await client.answered(1)
                    let token = try running.token(age: 60)
                    client.push(3, changes: ["authorization": "bearer \(token)"])
                    #expect(try await client.answered(3) == (limits ? "TooManyProviderTokenUpdates" : "200"))
                }
            }
        }
    }

    @Test func `a key of the other environment is told in either spelling`() async throws {
        let credentials = SimulatorCredentials()
        var key = credentials.signingKey
        key.environment = .sandbox
        var configuration = SimulatorConfiguration(authentication: .signingKeys([key]))
        configuration.shutdownGrace = .milliseconds(100)
        try await RunningSimulator.with(exactly: configuration, credentials) { running in
            let headers = try running.goodHeaders()
            #expect(try await running.push(headers: headers).reason == "BadEnvironmentKeyIdInToken")
            try running.simulator.changeSettings { $0.usesShortEnvironmentReason = true }
            #expect(try await running.push(headers: headers).reason == "BadEnvironmentKeyInToken")
        }
    }

    @Test func `a topic-specific key is good for its topics alone`() async throws {
        let credentials = SimulatorCredentials()
        var key = credentials.signingKey
        key.topics = ["com.example.app"]
        var configuration = SimulatorConfiguration(authentication: .signingKeys([key]))
        configuration.shutdownGrace = .milliseconds(100)
        try await RunningSimulator.with(exactly: configuration, credentials) { running in
            var headers = try running.goodHeaders()
            #expect(try await running.push(headers: headers).status == 200)
            headers["apns-topic"] = "com.example.other"
            #expect(try await running.push(headers: headers).reason == "TopicDisallowed")
        }
    }

    @Test func `unique ids are sent where they are wanted`() async throws {
        try await RunningSimulator.with { running in
            try running.simulator.changeSettings { $0.sendsUniqueIDs = true }
            let answer = try await running.push(headers: try running.goodHeaders())
            #expect(APNSID(answer.headers["apns-unique-id"] ?? "") != nil)
        }
    }

    @Test func `an uninstall is told late`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            let token = try #require(DeviceToken(hex: RunningSimulator.deviceToken))
            running.simulator.setTokenState(.unregistered(at: 1), of: token, after: .milliseconds(300))
            #expect(try await running.push(headers: headers).status == 200)
            try await waitUntil("410") { try await running.push(headers: headers).status == 410 }
        }
    }
}
