import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `Stream limit` {
    @Test func `a stream over the limit is refused, and the others continue`() async throws {
        let settings = RunningSimulator.settings { $0.streamsMax = 2 }
        try await RunningSimulator.with(settings) { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.awaitResponse(1) == "200")
                for stream in [3, 5, 7] as [UInt32] { client.push(stream, body: nil) }
                try await client.wait("a refusal") { !$0.frames(.reset, stream: 7).isEmpty }
                #expect(client.frames(.reset, stream: 7)[0].number == 7)
                for stream in [3, 5] as [UInt32] { client.send(.data, flags: 1, stream: stream, payload: [0x7B]) }
                #expect(try await client.awaitResponse(3) == "200")
                #expect(try await client.awaitResponse(5) == "200")
                #expect(client.streamLimits == [1, 2])
                try await waitUntil("the counters") { running.simulator.counters.streamsRefused == 1 }
                #expect(running.simulator.counters.taken == 3)
            }
        }
    }

    @Test func `GOAWAY follows a stream over the limit, once the client has acknowledged the limit`() async throws {
        let settings = RunningSimulator.settings {
            $0.overLimit = .goAway
            $0.streamsMax = 1
        }
        try await RunningSimulator.with(settings) { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.awaitResponse(1) == "200")
                client.push(3, body: nil)
                client.push(5, body: nil)
                try await client.wait("GOAWAY") { !$0.frames(.goAway).isEmpty }
                let goAway = client.frames(.goAway)[0].goAway
                #expect(goAway.last == 3 && goAway.code == 7)
                #expect(goAway.debug.contains("Maximum active streams") && !goAway.debug.contains("{"))
                client.send(.data, flags: 1, stream: 3, payload: [0x7B])
                #expect(try await client.awaitResponse(3) == "200")
                try await client.wait("the end") { $0.isEnded }
            }
            // Before the acknowledgement, the client may not have received the limit.
            try await RawClient.with(running, acknowledges: false) { client in
                for stream in [1, 3] as [UInt32] { client.push(stream, body: nil) }
                try await client.wait("a refusal") { !$0.frames(.reset, stream: 3).isEmpty }
                #expect(client.frames(.goAway).isEmpty)
            }
        }
    }

    @Test func `a refusal other than 410 lowers the limit to one, and the next 200 restores it`() async throws {
        let settings = RunningSimulator.settings { $0.dropsToOneStream = true }
        try await RunningSimulator.with(settings) { running in
            running.simulator.setTokenRules([
                TokenRule(try #require(TokenPattern("00*")), .unregistered(at: 1)),
                TokenRule(try #require(TokenPattern("ff*")), .bad),
            ])
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.awaitResponse(1) == "200")
                client.push(3, path: "/3/device/00aa")
                #expect(try await client.awaitResponse(3) == "Unregistered")
                #expect(client.streamLimits == [1, 1000])
                for stream in [5, 7] as [UInt32] {
                    client.push(stream, path: "/3/device/ffaa")
                    #expect(try await client.awaitResponse(stream) == "BadDeviceToken")
                }
                try await client.wait("the lower limit") { $0.streamLimits == [1, 1000, 1] }
                client.push(9)
                #expect(try await client.awaitResponse(9) == "200")
                try await client.wait("the old limit") { $0.streamLimits == [1, 1000, 1, 1000] }
                #expect(running.simulator.counters.streamLimitChanges == 3)
            }
        }
    }

    @Test func `an expired provider token wedges the connection`() async throws {
        let settings = RunningSimulator.settings { $0.wedgesOnExpiredToken = true }
        try await RunningSimulator.with(settings) { running in
            let old = "bearer \(try running.token(age: 4000))"
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.awaitResponse(1) == "200")
                client.push(3, body: nil)
                client.push(5, changes: ["authorization": old])
                #expect(try await client.awaitResponse(5) == "ExpiredProviderToken")
                try await client.wait("the refusal of the stream in flight") { !$0.frames(.reset, stream: 3).isEmpty }
                #expect(client.frames(.reset, stream: 3)[0].number == 7)
                try await client.wait("the lower limit") { $0.streamLimits == [1, 1000, 1] }
                client.push(7)
                #expect(try await client.awaitResponse(7) == "InternalServerError")
                #expect(running.simulator.counters.taken == 1)
            }
            #expect(try await running.push(headers: try running.goodHeaders()).status == 200)
        }
    }

    @Test func `the limit can change on an open connection`() async throws {
        try await RunningSimulator.with { running in
            try await RawClient.with(running) { client in
                client.push(1)
                #expect(try await client.awaitResponse(1) == "200")
                try running.simulator.changeSettings { $0.streamsMax = 7 }
                try await client.wait("the new limit") { $0.streamLimits == [1, 1000, 7] }
                #expect(throws: SimulatorError.self) {
                    try running.simulator.changeSettings { $0.streamsMax = 0 }
                }
                #expect(running.simulator.settings.streamsMax == 7)
            }
        }
    }
}
