import APNSWire
import Foundation
import Logging
import PushAccept
import PushModel
import PushStore
import Testing

@Suite struct `Bulk requests` {
    static let ndjson = "application/x-ndjson"

    @Test(arguments: ["/push/batch", "/api/v1/push/batch"])
    func `lines get one result line each, in order`(path: String) async throws {
        try await TestGateway.run { gateway in
            let body = [pushLine(0), "{}", pushLine(2), pushLine(3, #","lane":"normal""#), pushLine(4)].joined(
                separator: "\n")
            let response = try await gateway.post(path, body, type: Self.ndjson)
            #expect(response.status == 200)
            #expect(response.headers["content-type"] == Self.ndjson)
            #expect(response.lines.map { $0["index"] as? Int } == [0, 1, 2, 3, 4])
            #expect(response.lines.map { $0["code"] as? Int } == [0, 2022, 0, 0, 0])
            #expect(response.lines[1]["error"] as? String == "missing_field")
            #expect(response.lines[1]["field"] as? String == "device_token")
            #expect(response.lines[0]["timestamp"] as? Int == 1_763_899_200)
            let bulk = try #require(gateway.queue.batches.first { $0.lane == .bulk })
            let normal = try #require(gateway.queue.batches.first { $0.lane == .normal })
            #expect(
                response.lines.map { $0["msg_id"] as? String } == [
                    bulk.id.push(0).description, nil, bulk.id.push(1).description, normal.id.push(0).description,
                    bulk.id.push(2).description,
                ]
            )
            #expect(gateway.queue.appendCount == 1)
        }
    }

    @Test func `an array gets an object of results`() async throws {
        try await TestGateway.run { gateway in
            let response = try await gateway.post("/push/batch", "[ \(pushLine(0)),\n\(pushLine(1)) , 7 ]")
            #expect(response.status == 200)
            let results = try #require(response.json["results"] as? [[String: Any]])
            #expect(results.map { $0["status"] as? String } == ["accepted", "accepted", "refused"])
            #expect(response.json["accepted"] as? Int == 2)
            #expect(response.json["refused"] as? Int == 1)
            let empty = try await gateway.post("/push/batch", "[]")
            #expect(empty.status == 200)
            #expect((empty.json["results"] as? [Any])?.isEmpty == true)
        }
    }

    @Test func `the trace context is stored with the batch`() async throws {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        try await TestGateway.run { gateway in
            _ = try await gateway.send(
                "POST", "/push/batch", type: Self.ndjson, body: pushLine(1), headers: ["traceparent: \(parent)"]
            )
            #expect(gateway.queue.batches.first?.traceparents == PushColumn(shared: parent))
        }
    }

    @Test func `durable pushes are acknowledged while the client still sends`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.chunkedHead)
                try client.sendChunk(pushLine(0) + "\n")
                #expect(try client.read(until: "\"index\":0").contains("accepted"))
                try client.sendChunk(pushLine(1) + "\n" + pushLine(2).prefix(20))
                #expect(try client.read(until: "\"index\":1").contains("accepted"))
                try client.sendChunk(pushLine(2).dropFirst(20) + "\n")
                try client.send("0\r\n\r\n")
                #expect(try client.read(until: "0\r\n\r\n").contains("\"index\":2"))
            }
            #expect(gateway.queue.pushCount == 3)
        }
    }

    private static let chunkedHead =
        "POST /push/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
        + "Transfer-Encoding: chunked\r\n\r\n"

    @Test func `a client may send the whole body before it reads`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let count = 200_000
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.chunkedHead)
                for start in stride(from: 0, to: count, by: 500) {
                    try client.sendChunk((start..<start + 500).map { pushLine($0) + "\n" }.joined())
                }
                try client.send("0\r\n\r\n")
                return try client.readResponse()
            }
            #expect(gateway.queue.pushCount == count)
            var expected = 0
            response.body.enumerateSubstrings(in: response.body.startIndex..., options: .byLines) { line, _, _, stop in
                if line?.hasPrefix("{\"index\":\(expected),\"msg_id\":") != true || line?.contains("accepted") != true {
                    stop = true
                } else {
                    expected += 1
                }
            }
            #expect(expected == count)
            let batches = gateway.queue.batches
            #expect(batches.allSatisfy { $0.count <= 500 })
            #expect(batches.count < 1200, "one batch for several chunks: \(batches.count)")
        }
    }

    @Test func `the complete items of a cut-off upload are stored`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                let body = pushLine(0) + "\n" + pushLine(1) + "\n" + pushLine(2)
                try client.send(
                    "POST /push/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
                        + "Content-Length: \(body.utf8.count + 100)\r\n\r\n"
                )
                try client.send(body)
                client.closeOutput()
                return try client.readResponse()
            }
            #expect(response.lines.map { $0["code"] as? Int } == [0, 0, 2025])
            #expect(gateway.queue.pushCount == 2)
        }
    }

    @Test func `items read before the connection closes are stored`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.chunkedHead)
                try client.sendChunk(pushLine(0) + "\n")
                _ = try client.read(until: "\"index\":0")
                try client.sendChunk(pushLine(1) + "\n" + pushLine(2).prefix(10))
                _ = try client.read(until: "\"index\":1")
                client.close()
            }
            #expect(gateway.queue.pushCount == 2)
        }
    }

    @Test func `a body that ends within an item has a result for it`() async throws {
        try await TestGateway.run { gateway in
            let lines = try await gateway.post(
                "/push/batch", pushLine(0) + "\n" + pushLine(1).dropLast(5), type: Self.ndjson)
            #expect(lines.lines.map { $0["code"] as? Int } == [0, 2025])
            let array = try await gateway.post("/push/batch", "[" + pushLine(0) + "," + pushLine(1).dropLast(5))
            #expect((array.json["results"] as? [[String: Any]])?.map { $0["code"] as? Int } == [0, 2025])
        }
    }

    @Test func `a line of 10 MB is refused, and the next one is accepted`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.chunkedHead)
                try client.sendChunk(pushLine(0) + "\n" + #"{"device_token":""#)
                let chunk = String(repeating: "a", count: 65_536)
                for _ in 0..<160 { try client.sendChunk(chunk) }
                try client.sendChunk("\"}\n" + pushLine(2) + "\n")
                try client.send("0\r\n\r\n")
                return try client.readResponse()
            }
            #expect(response.lines.map { $0["code"] as? Int } == [0, 2024, 0])
            let array = try await gateway.post(
                "/push/batch", "[\(pushLine(0)),\"\(String(repeating: "a", count: 1_000_000))\",\(pushLine(1))]"
            )
            #expect((array.json["results"] as? [[String: Any]])?.map { $0["code"] as? Int } == [0, 2024, 0])
        }
    }

    @Test func `a request whose first write fails is refused as a whole`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.fail(append: 1, .before(.full("disk")))
            let response = try await gateway.post("/push/batch", pushLine(0), type: Self.ndjson)
            #expect(response.status == 503)
            #expect(response.headers["retry-after"] == "1")
            #expect(response.json["code"] as? Int == 3019)
            #expect(gateway.handoff.log == FakeHandoff.Log(reserved: 1, cancelled: 1))
        }
    }

    @Test func `a write that was not confirmed is reported for each item`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.fail(append: 1, .after(.unavailable("gone", isOutcomeKnown: false)))
            let response = try await gateway.post("/push/batch", "[\(pushLine(0)),\(pushLine(1))]")
            #expect(response.status == 200)
            #expect(response.json["unknown"] as? Int == 2)
            let results = try #require(response.json["results"] as? [[String: Any]])
            #expect(results.prefix(2).map { $0["status"] as? String } == ["unknown", "unknown"])
            let id = try #require(gateway.queue.batches.first?.id)
            #expect(
                results.prefix(2).map { $0["msg_id"] as? String } == [id.push(0).description, id.push(1).description])
        }
    }

    @Test func `a write that fails within a stream stops it with a last result`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.fail(append: 2, .before(.unavailable("gone", isOutcomeKnown: true)))
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.chunkedHead)
                try client.sendChunk(pushLine(0) + "\n")
                var text = try client.read(until: "\"index\":0")
                try client.sendChunk(pushLine(1) + "\n" + pushLine(2) + "\n")
                text += try client.read(until: "0\r\n\r\n")
                return text
            }
            #expect(response.contains(#"{"index":1,"status":"refused","code":3020"#))
            #expect(response.contains(#"{"index":2,"status":"refused","code":3020"#))
            #expect(
                response.contains(
                    #"{"index":3,"status":"refused","code":3020,"error":"store_unavailable","detail":"reading stopped"#)
            )
            #expect(gateway.queue.pushCount == 1)
        }
    }

    @Test func `too many unread results stop the stream`() async throws {
        try await TestGateway.run(configuration: .with(\.resultsWaitingMax, 1000)) { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.chunkedHead)
                try client.sendChunk(String(repeating: "x\n", count: 5000))
                return try client.readResponse()
            }
            let last = try #require(response.lines.last)
            #expect(last["code"] as? Int == 3019)
            #expect(last["index"] as? Int == response.lines.count - 1)
            #expect(response.lines.dropLast().allSatisfy { $0["code"] as? Int == 2020 })
        }
    }

    @Test func `pushes with different properties get different batches`() async throws {
        try await TestGateway.run(apps: TestGateway.twoApps) { gateway in
            let body = (0..<200).map {
                pushLine($0, #","app":"\#($0 % 2 == 0 ? "demo" : "other")","not_before":\#(1_763_899_300 + $0 % 100)"#)
            }
            let response = try await gateway.post("/push/batch", body.joined(separator: "\n"), type: Self.ndjson)
            #expect(response.lines.count == 200)
            #expect(Set(response.lines.compactMap { $0["msg_id"] as? String }).count == 200)
            for (index, line) in response.lines.enumerated() {
                let id = try #require(PushID(line["msg_id"] as? String ?? ""))
                let batch = try #require(gateway.queue.batches.first { $0.id == id.batch })
                #expect(batch.app.name == (index % 2 == 0 ? "demo" : "other"))
                #expect(batch.notifications.token(at: id.index).last == UInt8(truncatingIfNeeded: index))
                #expect(batch.due(of: UInt16(id.index)) == WallTime(seconds: 1_763_899_300 + Int64(index) % 100))
            }
        }
    }

    @Test func `shutdown ends a stream after the items already sent`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let client = try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.chunkedHead)
                try client.sendChunk(pushLine(0) + "\n")
                _ = try client.read(until: "\"index\":0")
                return UncheckedBox(client)
            }
            await gateway.stop()
            // The client sends no further byte.
            let rest = try await onThread { try client.value.read(until: "\r\n0\r\n\r\n") }
            #expect(rest.contains("\"code\":3021"))
        }
    }
}

/// SAFETY: the tests pass the client from one thread to the next and never share it.
struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
