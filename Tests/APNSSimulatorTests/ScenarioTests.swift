import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `Scenarios` {
    @Test(arguments: Scenario.builtInFiles.map(\.name)) func `a built-in one can be played`(_ name: String) async throws
    {
        let scenario = try #require(Scenario.builtIn(name))
        #expect(scenario.name == name && !scenario.description.isEmpty)
        try await RunningSimulator.with { running in
            try running.simulator.apply(scenario)
            #expect(running.simulator.scenario?.name == name)
            running.simulator.endScenario()
            #expect(running.simulator.settings == SimulatorSettings())
        }
    }

    @Test func `there are seven built-in scenarios`() {
        let names = ["calm", "flaky", "maintenance", "bad-key", "token-churn", "slow-far-away", "hostile"]
        #expect(Scenario.builtInFiles.map(\.name) == names)
        #expect(Scenario.builtIn("nowhere") == nil)
    }

    static let story = """
        name: story
        settings: {answer_delay: 1ms}
        tokens:
          - {pattern: "00*", state: unregistered, timestamp: 5}
        faults:
          - {action: answer, status: 500, topic: com.example.broken}
        phases:
          - name: storm
            at: 0s
            for: 600ms
            settings: {streams_max: 5}
            tokens: [{pattern: "00*", state: bad}]
            faults: [{action: answer, status: 503}]
          - name: late
            at: 3600s
            faults: [{action: close}]
        """

    @Test func `phases start and end, and the end restores the previous state`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            try running.simulator.apply(try Scenario(yaml: Self.story))
            #expect(running.simulator.settings.streamsMax == 5)
            #expect(running.simulator.settings.answerDelay == .milliseconds(1))
            #expect(running.simulator.scenario?.phases == ["storm"])
            #expect(try await running.push(headers: headers).status == 503)
            #expect(try await running.push("/3/device/00aa", headers: headers).reason == "BadDeviceToken")
            try await waitUntil("the storm's end") { running.simulator.scenario?.phases == [] }
            try await waitUntil("the old settings") { running.simulator.settings.streamsMax == 1000 }
            #expect(try await running.push(headers: headers).status == 200)
            #expect(try await running.push("/3/device/00aa", headers: headers).reason == "Unregistered")
            var broken = headers
            broken["apns-topic"] = "com.example.broken"
            #expect(try await running.push(headers: broken).status == 500)
            running.simulator.endScenario()
            #expect(running.simulator.scenario == nil && running.simulator.settings == SimulatorSettings())
            #expect(try await running.push(headers: broken).status == 200)
            #expect(try await running.push("/3/device/00aa", headers: headers).status == 200)
        }
    }

    @Test func `phases repeat`() async throws {
        let yaml = """
            name: wave
            repeat: 400ms
            phases:
              - {name: high, at: 0s, for: 200ms, settings: {streams_max: 7}}
            """
        let credentials = SimulatorCredentials()
        let configuration = SimulatorConfiguration(authentication: .signingKeys([credentials.signingKey]))
        let simulator = try await Simulator.start(configuration, scenario: try Scenario(yaml: yaml))
        for _ in 1...2 {
            try await waitUntil("high") { simulator.settings.streamsMax == 7 }
            try await waitUntil("low") { simulator.settings.streamsMax == 1000 }
        }
        try await simulator.shutdown()
    }

    @Test func `all problems are reported together, each with its line`() throws {
        let yaml = """
            name: 5
            colour: red
            settings:
              latency: fast
              streams_max: 0
              over_limit: maybe
              connection_rate: {count: 3}
            faults:
              - {action: dance}
              - {action: accept, on: connection}
              - {action: answer, status: 500, code: 3}
            tokens:
              - {pattern: "xyz", state: gone}
            repeat: 10s
            phases:
              - {for: 5s, at: 8s}
              - {name: nowhere}
            """
        let error = try #require(throws: ControlDocumentError.self) { try Scenario(yaml: yaml) }
        let wanted = [
            "line 4: settings.latency must be a duration such as",
            "line 5: settings.streams_max must be an integer from 1",
            "line 6: settings.over_limit must be refuse or goaway",
            "line 7: settings.connection_rate needs a \"count\" and a \"per\"",
            "line 9: faults[0].action must be",
            "line 10: faults[1]: the action accept is not possible with on: connection",
            "line 11: faults[2]: \"code\" needs then_goaway: true", "line 13: tokens[0].pattern must be hexadecimal",
            "line 13: tokens[0].state must be", "line 2: the document has an unknown member \"colour\"",
            "the phase phases[0] ends after the scenario repeats", "line 17: phases[1] has no \"at\"",
        ]
        for words in wanted {
            #expect(
                error.problems.contains { $0.hasPrefix(words) || $0.contains(words) },
                "\(words)\n\(error.problems.joined(separator: "\n"))")
        }
        #expect(error.problems.count == wanted.count, "\(error.problems.joined(separator: "\n"))")
    }

    @Test func `the control API starts, describes and ends scenarios`() async throws {
        try await RunningSimulator.with { running in
            let list = try await running.request("GET", "/scenarios")
            let names = try #require(
                try JSONSerialization.jsonObject(with: Data(list.body.utf8)) as? [[String: String]]
            ).compactMap { $0["name"] }
            #expect(names == Scenario.builtInFiles.map(\.name))
            #expect(try await running.request("GET", "/scenario").body == "{\"name\":null}\n")
            #expect(try await running.request("PUT", "/scenario", body: Self.story).status == 204)
            let body = try await running.request("GET", "/scenario").body
            #expect(body.contains(#""name":"story""#) && body.contains(#""phases":["storm"]"#))
            #expect(try await running.request("PUT", "/scenario", body: "slow-far-away\n").status == 204)
            #expect(running.simulator.settings.latency == .milliseconds(150))
            #expect(try await running.request("GET", "/settings").body.contains(#""latency":"150ms""#))
            #expect(try await running.request("DELETE", "/scenario").status == 204)
            #expect(running.simulator.settings.latency == .zero)
            let unknown = try await running.request("PUT", "/scenario", body: "quiet")
            #expect(unknown.status == 400 && unknown.body.contains("use one of calm, flaky"))
            let wrong = try await running.request("PUT", "/scenario", body: "name: x\nfaults: [{action: y}]")
            #expect(wrong.status == 400 && wrong.body.contains("line 2: faults[0].action must be"))
        }
    }

    @Test func `every setting can be set and read`() async throws {
        try await RunningSimulator.with { running in
            let yaml = """
                streams_before_authentication: 2
                streams_max: 50
                over_limit: goaway
                drops_to_one_stream: true
                wedges_on_expired_token: true
                error_budget: 10
                bad_token_weight: 3
                connection_rate: {count: 100, per: 2s}
                connection_penalty: 3s
                connections_max: 40
                idle_timeout: 1h
                connection_age_max: 2h
                accepts_prior_knowledge: false
                latency: 1ms
                jitter: 2ms
                answer_delay: 3ms
                validation_order: token-first
                requests_per_token: {count: 5, per: 1m}
                limits_token_updates: false
                uses_short_environment_reason: true
                uses_upper_case_ids: true
                sends_unique_ids: true
                channels_max: 3
                broadcast_topics: [b, a]
                """
            #expect(try await running.request("PUT", "/settings", body: yaml).status == 204)
            var wanted = SimulatorSettings()
            (wanted.streamsBeforeAuthentication, wanted.streamsMax, wanted.overLimit) = (2, 50, .goAway)
            (wanted.dropsToOneStream, wanted.wedgesOnExpiredToken) = (true, true)
            (wanted.errorBudget, wanted.badTokenWeight) = (10, 3)
            wanted.connectionRate = .init(100, per: .seconds(2))
            (wanted.connectionPenalty, wanted.connectionsMax) = (.seconds(3), 40)
            (wanted.idleTimeout, wanted.connectionAgeMax) = (.seconds(3600), .seconds(7200))
            wanted.acceptsPriorKnowledge = false
            (wanted.latency, wanted.jitter, wanted.answerDelay) = (.milliseconds(1), .milliseconds(2), .milliseconds(3))
            wanted.validationOrder = .tokenFirst
            wanted.requestsPerToken = .init(5, per: .seconds(60))
            (wanted.limitsTokenUpdates, wanted.usesShortEnvironmentReason) = (false, true)
            (wanted.usesUpperCaseIDs, wanted.sendsUniqueIDs) = (true, true)
            (wanted.channelsMax, wanted.broadcastTopics) = (3, ["a", "b"])
            #expect(running.simulator.settings == wanted)
            // The response can be sent back.
            let body = try await running.request("GET", "/settings").body
            #expect(body.components(separatedBy: ":").count > 24)
            #expect(try await running.request("PUT", "/settings", body: body).status == 204)
            #expect(running.simulator.settings == wanted)
            let off = "{\"error_budget\": null, \"sends_unique_ids\": null, \"connection_rate\": null}"
            #expect(try await running.request("PUT", "/settings", body: off).status == 204)
            #expect(running.simulator.settings.errorBudget == nil && running.simulator.settings.connectionRate == nil)
            let wrong = try await running.request("PUT", "/settings", body: "streams_max: 1\nspeed: 5")
            #expect(wrong.status == 400 && wrong.body.contains("line 2") && wrong.body.contains("speed"))
            let clash = try await running.request("PUT", "/settings", body: "streams_max: 1")
            #expect(clash.status == 400 && clash.body.contains("streams before authentication"))
            #expect(running.simulator.settings.streamsMax == 50)
        }
    }
}
