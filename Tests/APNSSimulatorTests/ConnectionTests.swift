import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `Connection limits and shutdown` {
    @Test func `too many errors end a connection, with a higher weight for bad tokens and none for 410`() async throws {
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
                _ = try await client.awaitResponse(1)
                for stream in stride(from: UInt32(3), to: 33, by: 2) {
                    client.push(stream, path: "/3/device/00aa")
                    #expect(try await client.awaitResponse(stream) == "Unregistered")
                }
                client.push(41, path: "/3/device/ffaa")
                client.push(43, changes: ["apns-priority": "3"])
                #expect(try await client.awaitResponse(43) == "BadPriority")
                #expect(client.frames(.goAway).isEmpty)
                client.push(45, changes: ["apns-priority": "3"])
                #expect(try await client.awaitResponse(45) == "BadPriority")
                try await client.wait("GOAWAY and the end") { !$0.frames(.goAway).isEmpty && $0.isEnded }
                let goAway = client.frames(.goAway)[0].goAway
                #expect(goAway.last == 45 && goAway.code == 0)
            }
            #expect(running.simulator.counters.goAwaysSent == 1)
        }
    }

    @Test func `rapid reconnects are rejected for the penalty time`() async throws {
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

    @Test func `connections over the limit are rejected`() async throws {
        let settings = RunningSimulator.settings { $0.connectionsMax = 1 }
        try await RunningSimulator.with(settings) { running in
            let headers = try running.goodHeaders()
            try await RawClient.with(running) { client in
                client.push(1)
                _ = try await client.awaitResponse(1)
                #expect(try await running.push(headers: headers).exitStatus != 0)
            }
            try await waitUntil("the end of the first connection") { running.simulator.counters.connectionsOpen == 0 }
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `an idle connection ends with GOAWAY IdleTimeout`() async throws {
        let settings = RunningSimulator.settings { $0.idleTimeout = .milliseconds(200) }
        try await RunningSimulator.with(settings) { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.awaitResponse(1) == "200")
                try await client.wait("the end") { $0.isEnded }
                let goAway = try #require(client.frames(.goAway).first?.goAway)
                #expect(goAway.last == 1 && goAway.code == 0 && goAway.debug == #"{"reason":"IdleTimeout"}"#)
            }
        }
    }

    @Test func `a connection at its maximum age ends after its open streams`() async throws {
        try await RunningSimulator.with { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.awaitResponse(1) == "200")
                client.push(3, body: nil)
                // Settings also apply to open connections.
                try running.simulator.changeSettings { $0.connectionAgeMax = .milliseconds(50) }
                try await client.wait("GOAWAY") { !$0.frames(.goAway).isEmpty }
                #expect(!client.isEnded)
                client.send(.data, flags: 1, stream: 3, payload: [0x7B])
                #expect(try await client.awaitResponse(3) == "200")
                try await client.wait("the end") { $0.isEnded }
            }
        }
    }

    @Test func `clients without ALPN can be rejected`() async throws {
        let settings = RunningSimulator.settings { $0.acceptsPriorKnowledge = false }
        try await RunningSimulator.with(settings) { running in
            let headers = try running.goodHeaders()
            let response = try await running.push(
                headers: headers, options: ["--no-alpn", "--http2-prior-knowledge", "--max-time", "10"])
            #expect(response.exitStatus != 0 && response.status == 0)
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `latency delays everything, including PING`() async throws {
        let settings = RunningSimulator.settings {
            $0.latency = .milliseconds(300)
            $0.jitter = .milliseconds(50)
        }
        try await RunningSimulator.with(settings) { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.awaitResponse(1) == "200")
                let start = ContinuousClock.now
                client.send(.ping, payload: [1, 2, 3, 4, 5, 6, 7, 8])
                try await client.wait("PING") { !$0.frames(.ping).isEmpty }
                #expect(ContinuousClock.now - start >= .milliseconds(300))
                // A lower latency keeps the order.
                client.push(3)
                try running.simulator.changeSettings { ($0.latency, $0.jitter) = (.zero, .zero) }
                client.push(5)
                #expect(try await client.awaitResponse(5) == "200")
                #expect(client.response(3) == "200")
            }
        }
    }

    @Test func `with latency, throughput is limited by the number of streams`() async throws {
        let settings = RunningSimulator.settings(.fast) { $0.latency = .milliseconds(100) }
        try await RunningSimulator.with(settings) { running in
            var arguments = ["-n", "400", "-c", "1", "-m", "100", "-d", try running.payloadFile()]
            for (name, value) in try running.goodHeaders() { arguments += ["-H", "\(name): \(value)"] }
            let start = ContinuousClock.now
            let result = try await Command.run("h2load", arguments + [running.url()])
            #expect(result.output.contains("400 succeeded, 0 failed"), "\(result.output)")
            // Four rounds of 100 pushes, after the TLS handshake.
            #expect(ContinuousClock.now - start >= .milliseconds(500))
        }
    }

    @Test(arguments: [50, 150]) func `with latency, 60,000 pushes of 1 KiB arrive`(_ milliseconds: Int) async throws {
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

@Suite struct `Request checks` {
    @Test func `pushes to one device are rate limited`() async throws {
        let settings = RunningSimulator.settings { $0.requestsPerToken = .init(2, per: .seconds(3600)) }
        try await RunningSimulator.with(settings) { running in
            let headers = try running.goodHeaders()
            for _ in 1...2 { #expect(try await running.push(headers: headers).status == 200) }
            let response = try await running.push(headers: headers)
            #expect(response.status == 429 && response.reason == "TooManyRequests")
            #expect(try await running.push("/3/device/abcd", headers: headers).status == 200)
        }
    }

    @Test func `the order of checks is configurable`() async throws {
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

    @Test func `the limit on token updates can be disabled`() async throws {
        for limits in [true, false] {
            let settings = RunningSimulator.settings { $0.limitsTokenUpdates = limits }
            try await RunningSimulator.with(settings) { running in
                try await RawClient.with(running) { client in
                    client.push(1)
                    _ = try await client.awaitResponse(1)
                    let token = try running.token(age: 60)
                    client.push(3, changes: ["authorization": "bearer \(token)"])
                    #expect(try await client.awaitResponse(3) == (limits ? "TooManyProviderTokenUpdates" : "200"))
                }
            }
        }
    }

    @Test func `a key of the other environment is refused with either reason`() async throws {
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

    @Test func `a topic-specific key is valid only for its topics`() async throws {
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

    @Test func `unique IDs can be enabled in production`() async throws {
        try await RunningSimulator.with { running in
            try running.simulator.changeSettings { $0.sendsUniqueIDs = true }
            let response = try await running.push(headers: try running.goodHeaders())
            #expect(APNSID(response.headers["apns-unique-id"] ?? "") != nil)
        }
    }

    @Test func `a token state can take effect after a delay`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            let token = try #require(DeviceToken(hex: RunningSimulator.deviceToken))
            running.simulator.setTokenState(.unregistered(at: 1), of: token, after: .milliseconds(300))
            #expect(try await running.push(headers: headers).status == 200)
            try await waitUntil("410") { try await running.push(headers: headers).status == 410 }
        }
    }
}
