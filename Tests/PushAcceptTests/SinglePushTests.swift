import APNSWire
import Foundation
import PushAccept
import PushModel
import PushStore
import Testing

@Suite struct `Single pushes` {
    @Test(arguments: ["/push", "/api/v1/push"])
    func `a push is durable before it is answered`(path: String) async throws {
        try await TestGateway.run { gateway in
            let answer = try await gateway.post(path, pushLine(1))
            #expect(answer.status == 200)
            #expect(answer.json["status"] as? String == "accepted")
            #expect(answer.json["code"] as? Int == 0)
            #expect(answer.json["timestamp"] as? Int == 1_763_899_200)
            #expect(answer.headers["x-request-id"]?.isEmpty == false)
            let batch = try #require(gateway.queue.batches.first)
            #expect(answer.json["msg_id"] as? String == batch.id.push(0).description)
            #expect(batch.lane == .normal)
            #expect(batch.app == AppID("demo"))
            #expect(batch.acceptedAt == TestGateway.now)
            #expect(
                String(decoding: batch.notifications.payload(at: 0), as: UTF8.self) == #"{"aps":{"alert":"Hello 1"}}"#)
            #expect(batch.notifications.headers == [NotificationHeaders(topic: "com.example.app", pushType: .alert)])
            #expect(gateway.handoff.log == FakeHandoff.Log(reserved: 1, handedOver: 1))
        }
    }

    @Test func `pushes that come during a write share the next one`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.blockAppends()
            try await withThrowingTaskGroup(of: WireResponse.self) { group in
                group.addTask { try await gateway.post("/push", pushLine(0)) }
                await gateway.queue.waitForBlockedAppend()
                for number in 1...40 { group.addTask { try await gateway.post("/push", pushLine(number)) } }
                await gateway.waitUntil("godwit_accept_waiting_pushes 40")
                gateway.queue.unblockAppends()
                var ids: Set<String> = []
                for try await answer in group {
                    #expect(answer.status == 200)
                    ids.insert(answer.json["msg_id"] as? String ?? "")
                }
                #expect(ids.count == 41)
            }
            #expect(gateway.queue.pushCount == 41)
            #expect(gateway.queue.appendCount == 2)
            #expect(gateway.queue.batches.map(\.count) == [1, 40])
        }
    }

    @Test func `a failed write is a 503 that says what is known`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.fail(append: 1, .before(.unavailable("secret path", isOutcomeKnown: true)))
            gateway.queue.fail(append: 2, .after(.unavailable("secret path", isOutcomeKnown: false)))
            gateway.queue.fail(append: 3, .before(.full("disk")))
            gateway.queue.fail(append: 4, .before(.broken("fsync")))
            var answers: [WireResponse] = []
            for number in 1...5 { answers.append(try await gateway.post("/push", pushLine(number))) }
            #expect(answers.map(\.status) == [503, 503, 503, 503, 200])
            #expect(answers.map { $0.json["code"] as? Int } == [3020, 3020, 3019, 3020, 0])
            for answer in answers.prefix(4) {
                #expect(answer.headers["retry-after"] == "1")
                #expect(answer.headers["content-type"] == "application/problem+json")
                #expect(!answer.body.contains("secret"))
            }
            #expect(answers[0].json["msg_id"] == nil)
            let unknown = try #require(answers[1].json["msg_id"] as? String)
            #expect(gateway.queue.batches.first?.id.push(0).description == unknown)
            let log = gateway.handoff.log
            #expect(log.reserved == 5)
            #expect(log.cancelled == 4)
            #expect(log.handedOver == 1)
            #expect(log.waits == 1, "a write that may have happened is worth a look")
        }
    }

    @Test func `past the limit of waiting pushes a push is refused`() async throws {
        try await TestGateway.run(configuration: .with(\.singlePushesMax, 1)) { gateway in
            gateway.queue.blockAppends()
            async let first = gateway.post("/push", pushLine(1))
            await gateway.queue.waitForBlockedAppend()
            async let second = gateway.post("/push", pushLine(2))
            await gateway.waitUntil("godwit_accept_waiting_pushes 1")
            let third = try await gateway.post("/push", pushLine(3))
            #expect(third.status == 503)
            #expect(third.json["code"] as? Int == 3019)
            #expect(third.headers["retry-after"] == "1")
            gateway.queue.unblockAppends()
            let statuses = [try await first.status, try await second.status]
            #expect(statuses == [200, 200])
            #expect(gateway.queue.pushCount == 2)
        }
    }

    @Test func `a batch without capacity at dispatch is announced instead`() async throws {
        try await TestGateway.run(handoff: FakeHandoff(hasCapacity: false)) { gateway in
            _ = try await gateway.post("/push", pushLine(1))
            #expect(gateway.handoff.log == FakeHandoff.Log(waits: 1))
        }
    }

    @Test func `pushes that are to be sent once at most are kept apart`() async throws {
        try await TestGateway.run { gateway in
            let lines = [
                pushLine(1), pushLine(2, #","on_unanswered":"drop""#), pushLine(3, #","on_unanswered":"resend""#),
            ]
            let answer = try await gateway.post("/push/batch", lines.joined(separator: "\n"), type: "text/plain")
            #expect(answer.status == 200)
            #expect(gateway.queue.batches.map(\.ambiguity) == [.resend, .drop])
            #expect(gateway.queue.batches.map(\.count) == [2, 1])
        }
    }

    @Test func `a claim that the store does not give returns its room`() async throws {
        let queue = FaultyStore()
        // An append does not claim for a paused app.
        try await queue.setPaused(true, app: AppID("demo"), at: TestGateway.now)
        try await TestGateway.run(queue: queue) { gateway in
            _ = try await gateway.post("/push", pushLine(1))
            #expect(gateway.handoff.log == FakeHandoff.Log(reserved: 1, cancelled: 1, waits: 1))
        }
    }

    @Test func `a push for later is not handed over`() async throws {
        try await TestGateway.run { gateway in
            let answer = try await gateway.post("/push", pushLine(1, #","not_before":1763899300"#))
            #expect(answer.status == 200)
            #expect(gateway.queue.batches[0].notBefore == WallTime(seconds: 1_763_899_300))
            #expect(gateway.handoff.log == FakeHandoff.Log(waits: 1))
        }
    }

    @Test func `what was taken is committed before a stop`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.blockAppends()
            async let first = gateway.post("/push", pushLine(1))
            await gateway.queue.waitForBlockedAppend()
            async let second = gateway.post("/push", pushLine(2))
            await gateway.waitUntil("godwit_accept_waiting_pushes 1")
            await gateway.stop()
            gateway.queue.unblockAppends()
            let statuses = [try await first.status, try await second.status]
            #expect(statuses == [200, 200])
            #expect(gateway.queue.pushCount == 2)
        }
    }
}
