import APNSWire
import Foundation
import PushAccept
import PushModel
import PushStore
import Testing

@Suite(.bothServers) struct `Single pushes` {
    @Test(arguments: ["/push", "/api/v1/push"])
    func `a push is durable before the response`(path: String) async throws {
        try await TestGateway.run { gateway in
            let response = try await gateway.post(path, pushLine(1))
            #expect(response.status == 200)
            #expect(response.json["status"] as? String == "accepted")
            #expect(response.json["code"] as? Int == 0)
            #expect(response.json["timestamp"] as? Int == 1_763_899_200)
            #expect(response.headers["x-request-id"]?.isEmpty == false)
            let batch = try #require(gateway.queue.batches.first)
            #expect(response.json["msg_id"] as? String == batch.id.push(0).description)
            #expect(batch.lane == .normal)
            #expect(batch.app == AppID("demo"))
            #expect(batch.acceptedAt == TestGateway.now)
            #expect(
                String(decoding: batch.notifications.payload(at: 0), as: UTF8.self) == #"{"aps":{"alert":"Hello 1"}}"#)
            #expect(batch.notifications.headers == [NotificationHeaders(topic: "com.example.app", pushType: .alert)])
            #expect(gateway.handoff.log == FakeHandoff.Log(reserved: 1, handedOver: 1))
        }
    }

    @Test func `pushes that arrive during a write share the next one`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.blockAppends()
            try await withThrowingTaskGroup(of: WireResponse.self) { group in
                group.addTask { try await gateway.post("/push", pushLine(0)) }
                await gateway.queue.waitForBlockedAppend()
                for number in 1...40 { group.addTask { try await gateway.post("/push", pushLine(number)) } }
                await gateway.waitUntil("godwit_accept_waiting_pushes 40")
                gateway.queue.unblockAppends()
                var ids: Set<String> = []
                for try await response in group {
                    #expect(response.status == 200)
                    ids.insert(response.json["msg_id"] as? String ?? "")
                }
                #expect(ids.count == 41)
            }
            #expect(gateway.queue.pushCount == 41)
            #expect(gateway.queue.appendCount == 2)
            #expect(gateway.queue.batches.map(\.count) == [1, 40])
        }
    }

    @Test func `a failed write gets a 503 with what is known`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.fail(append: 1, .before(.unavailable("secret path", isOutcomeKnown: true)))
            gateway.queue.fail(append: 2, .after(.unavailable("secret path", isOutcomeKnown: false)))
            gateway.queue.fail(append: 3, .before(.full("disk")))
            gateway.queue.fail(append: 4, .before(.broken("fsync")))
            var responses: [WireResponse] = []
            for number in 1...5 { responses.append(try await gateway.post("/push", pushLine(number))) }
            #expect(responses.map(\.status) == [503, 503, 503, 503, 200])
            #expect(responses.map { $0.json["code"] as? Int } == [3020, 3020, 3019, 3020, 0])
            for response in responses.prefix(4) {
                #expect(response.headers["retry-after"] == "1")
                #expect(response.headers["content-type"] == "application/problem+json")
                #expect(!response.body.contains("secret"))
            }
            #expect(responses[0].json["msg_id"] == nil)
            let unknown = try #require(responses[1].json["msg_id"] as? String)
            #expect(gateway.queue.batches.first?.id.push(0).description == unknown)
            let log = gateway.handoff.log
            #expect(log.reserved == 5)
            #expect(log.cancelled == 4)
            #expect(log.handedOver == 1)
            #expect(log.waits == 1, "dispatch looks for a batch that may be durable")
        }
    }

    @Test func `pushes beyond the limit of waiting ones are refused`() async throws {
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

    @Test func `dispatch without capacity is notified of a backlog`() async throws {
        try await TestGateway.run(handoff: FakeHandoff(hasCapacity: false)) { gateway in
            _ = try await gateway.post("/push", pushLine(1))
            #expect(gateway.handoff.log == FakeHandoff.Log(waits: 1))
        }
    }

    @Test func `pushes with different on_unanswered get different batches`() async throws {
        try await TestGateway.run { gateway in
            let lines = [
                pushLine(1), pushLine(2, #","on_unanswered":"drop""#), pushLine(3, #","on_unanswered":"resend""#),
            ]
            let response = try await gateway.post(
                "/push/batch", lines.joined(separator: "\n"), type: "application/x-ndjson")
            #expect(response.status == 200)
            #expect(gateway.queue.batches.map(\.ambiguity) == [.resend, .drop])
            #expect(gateway.queue.batches.map(\.count) == [2, 1])
        }
    }

    @Test func `pushes of each environment get batches of their own`() async throws {
        let lines = [
            pushLine(1), pushLine(2, #","environment":"production""#), pushLine(3, #","environment":"sandbox""#),
        ]
        let dispatch = AcceptDispatch(
            handoff: FakeHandoff(),
            delay: { $0.environment == .production ? DeliveryDelay(reason: .backlog, estimate: nil) : nil }
        )
        try await TestGateway.run(apps: TestGateway.twoEnvironments, dispatch: dispatch) { gateway in
            let response = try await gateway.post(
                "/push/batch", lines.joined(separator: "\n"), type: "application/x-ndjson")
            #expect(response.lines.map { $0["delayed"] as? String } == [nil, "backlog", nil])
            let single = try await gateway.post("/push", lines[1])
            #expect(single.json["delayed"] as? String == "backlog")
            #expect(gateway.queue.batches.map(\.environment) == [.sandbox, .production, .production])
            #expect(gateway.queue.batches.map(\.count) == [2, 1, 1])
        }
    }

    @Test func `waiting pushes with many due times share a batch for each window`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.blockAppends()
            try await withThrowingTaskGroup(of: WireResponse.self) { group in
                group.addTask { try await gateway.post("/push", pushLine(0)) }
                await gateway.queue.waitForBlockedAppend()
                for number in 1...40 {
                    let due = #","not_before":\#(1_763_900_100 + number)"#
                    group.addTask { try await gateway.post("/push", pushLine(number, due)) }
                }
                await gateway.waitUntil("godwit_accept_waiting_pushes 40")
                gateway.queue.unblockAppends()
                for try await response in group { #expect(response.status == 200) }
            }
            #expect(gateway.queue.batches.map(\.count).sorted() == [1, 11, 29])
        }
    }

    @Test func `the reservation of a batch that the store does not claim is cancelled`() async throws {
        let queue = FaultyStore()
        // An append does not claim for a paused app.
        try await queue.setPaused(true, app: AppID("demo"), at: TestGateway.now)
        try await TestGateway.run(queue: queue) { gateway in
            _ = try await gateway.post("/push", pushLine(1))
            #expect(gateway.handoff.log == FakeHandoff.Log(reserved: 1, cancelled: 1, waits: 1))
        }
    }

    @Test func `a push with a future not_before is not handed to dispatch`() async throws {
        try await TestGateway.run { gateway in
            let response = try await gateway.post("/push", pushLine(1, #","not_before":1763899300"#))
            #expect(response.status == 200)
            #expect(gateway.queue.batches[0].due(of: 0) == WallTime(seconds: 1_763_899_300))
            #expect(gateway.handoff.log == FakeHandoff.Log(waits: 1))
        }
    }

    @Test func `accepted pushes are committed before the service stops`() async throws {
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
