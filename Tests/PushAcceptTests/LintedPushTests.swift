import APNSWire
import Foundation
import PushAccept
import PushModel
import PushStore
import Telemetry
import Testing

@Suite(.bothServers) struct `Linted pushes` {
    private static let ndjson = "application/x-ndjson"
    private static let token = String(repeating: "5eed", count: 16)
    private static let silent = #"{"device_token":"\#(token)","payload":{"aps":{"content-available":1}}}"#
    private static let refused =
        #"{"device_token":"\#(token)","push_type":"background","priority":10,"payload":{"aps":{"content-available":1}}}"#

    private static func rules(_ result: [String: Any]?) -> [String]? {
        (result?["warnings"] as? [[String: Any]])?.compactMap { $0["rule"] as? String }
    }

    @Test func `what APNs refuses is refused by code, rule and field`() async throws {
        try await TestGateway.run { gateway in
            let response = try await gateway.post("/push", Self.refused)
            #expect(response.status == 400)
            #expect(response.json["code"] as? Int == 3031)
            #expect(response.json["error"] as? String == "push_invalid")
            #expect(response.json["rule"] as? String == "priority-refused")
            #expect(response.json["field"] as? String == "priority")
            let bulk = try await gateway.post("/push/batch", Self.refused + "\n" + pushLine(1), type: Self.ndjson)
            #expect(bulk.lines.map { $0["code"] as? Int } == [3031, 0])
            #expect(bulk.lines[0]["rule"] as? String == "priority-refused")
            #expect(gateway.queue.pushCount == 1)
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_refused_total{code=\"3031\"} 2\n"))
        }
    }

    @Test func `what a device ignores is accepted with warnings, also when the response is repeated`() async throws {
        try await TestGateway.run { gateway in
            let key = ["Idempotency-Key: k"]
            let first = try await gateway.post("/push", Self.silent, headers: key)
            #expect(first.status == 200)
            #expect(Self.rules(first.json) == ["alert-without-content"])
            #expect(try await gateway.post("/push", Self.silent, headers: key).body == first.body)
            #expect(Self.rules(try await gateway.post("/push", Self.silent).json) == ["alert-without-content"])
            #expect(Self.rules(try await gateway.post("/push", pushLine(1)).json) == nil)
        }
    }

    @Test func `a bulk request reports each rule once, with the first push`() async throws {
        try await TestGateway.run { gateway in
            let far = #","expiration":1800000000"#
            let lines = [
                pushLine(0), Self.silent, Self.silent, pushLine(3, far),
                Self.silent.replacing("}}}", with: "}}\(far)}"), Self.silent,
            ]
            let response = try await gateway.post("/push/batch", lines.joined(separator: "\n"), type: Self.ndjson)
            #expect(response.lines.map { $0["index"] as? Int } == [0, 1, 2, 3, 4, 5])
            #expect(
                response.lines.map(Self.rules) == [
                    nil, ["alert-without-content"], nil, ["expiration-far"], nil, nil,
                ])
            #expect(gateway.queue.pushCount == 6)
            let array = try await gateway.post(
                "/push/batch", "[" + lines.joined(separator: ",") + "]", headers: ["Idempotency-Key: a"])
            #expect(
                (array.json["results"] as? [[String: Any]])?.map(Self.rules) == [
                    nil, ["alert-without-content"], nil, ["expiration-far"], nil, nil,
                ])
            let again = try await gateway.post(
                "/push/batch", "[" + lines.joined(separator: ",") + "]", headers: ["Idempotency-Key: a"])
            #expect(again.body == array.body)
        }
    }

    @Test func `strict requests refuse warnings`() async throws {
        try await TestGateway.run { gateway in
            let response = try await gateway.post("/push?strict=true", Self.silent)
            #expect(response.status == 400)
            #expect(response.json["code"] as? Int == 3032)
            #expect(response.json["rule"] as? String == "alert-without-content")
            let bulk = try await gateway.post(
                "/push/batch?strict=true", Self.silent + "\n" + pushLine(1), type: Self.ndjson)
            #expect(bulk.lines.map { $0["code"] as? Int } == [3032, 0])
            #expect(try await gateway.post("/push?x=1&strict=false", Self.silent).status == 200)
            let wrong = try await gateway.post("/push?strict=yes", Self.silent)
            #expect(wrong.status == 400)
            #expect(wrong.json["field"] as? String == "strict")
            #expect(gateway.queue.pushCount == 2)
        }
    }

    // MARK: Many devices

    private static let tokens =
        #"{"device_tokens":["aa","xyz","bb","cc"],"payload":{"aps":{"content-available":1}},"priority":5}"#

    @Test func `one push goes to many devices`() async throws {
        try await TestGateway.run { gateway in
            let response = try await gateway.post("/push", Self.tokens)
            #expect(response.status == 200)
            let results = try #require(response.json["results"] as? [[String: Any]])
            #expect(results.map { $0["index"] as? Int } == [0, 0, 0, 0])
            #expect(results.map { $0["token"] as? Int } == [0, 1, 2, 3])
            #expect(results.map { $0["code"] as? Int } == [0, 3030, 0, 0])
            #expect(results.map(Self.rules) == [["alert-without-content"], nil, nil, nil])
            #expect(results[1]["field"] as? String == "device_tokens")
            let batch = try #require(gateway.queue.batches.first)
            #expect(batch.lane == .normal)
            #expect((0..<3).map { Array(batch.notifications.token(at: $0)) } == [[0xAA], [0xBB], [0xCC]])
            #expect(batch.notifications.payloads.count == 31, "the payload is stored once")
            #expect(
                results.compactMap { $0["msg_id"] as? String } == (0..<3).map { batch.id.push($0).description })
            #expect(gateway.queue.appendCount == 1)
        }
    }

    @Test func `1,000 devices are one write, and 1,001 are refused`() async throws {
        @Sendable func body(_ count: Int) -> String {
            let tokens = (0..<count).map { "\"" + String(repeating: "ab", count: 126) + String(format: "%04x\"", $0) }
            return #"{"device_tokens":[\#(tokens.joined(separator: ","))],"message":"x"}"#
        }
        try await TestGateway.run { gateway in
            let response = try await gateway.post("/push", body(1000))
            #expect(response.json["accepted"] as? Int == 1000)
            #expect(gateway.queue.pushCount == 1000)
            #expect(gateway.queue.appendCount == 1)
            let more = try await gateway.post("/push", body(1001))
            #expect(more.status == 413 || more.json["code"] as? Int == 3018)
            #expect(gateway.queue.pushCount == 1000)
        }
    }

    @Test func `a repeated push to many devices gets the stored response`() async throws {
        try await TestGateway.run { gateway in
            let first = try await gateway.post("/push", Self.tokens, headers: ["Idempotency-Key: k"])
            let again = try await gateway.post("/push", Self.tokens, headers: ["Idempotency-Key: k"])
            #expect(again.body == first.body)
            #expect(again.headers["idempotency-replayed"] == "true")
            #expect(gateway.queue.pushCount == 3)
        }
    }

    @Test func `a refused push to many devices is refused as a whole`() async throws {
        try await TestGateway.run { gateway in
            let response = try await gateway.post("/push?strict=true", Self.tokens)
            #expect(response.status == 400)
            #expect(response.json["code"] as? Int == 3032)
            gateway.queue.fail(append: 1, .before(.full("disk")))
            #expect(try await gateway.post("/push", Self.tokens).status == 503)
            #expect(gateway.queue.pushCount == 0)
        }
    }

    @Test(arguments: [[], ["Idempotency-Key: k"]])
    func `an item of a bulk request may have many devices`(headers: [String]) async throws {
        try await TestGateway.run { gateway in
            let body = "[\(pushLine(0)),\(Self.tokens),{},\(Self.tokens),\(pushLine(4))]"
            let response = try await gateway.post("/push/batch", body, headers: headers)
            let results = try #require(response.json["results"] as? [[String: Any]])
            #expect(results.map { $0["index"] as? Int } == [0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4])
            #expect(results.map { $0["token"] as? Int } == [nil, 0, 1, 2, 3, nil, 0, 1, 2, 3, nil])
            #expect(results.map { $0["code"] as? Int } == [0, 0, 3030, 0, 0, 2022, 0, 3030, 0, 0, 0])
            #expect(response.json["accepted"] as? Int == 8)
            #expect(response.json["refused"] as? Int == 3)
            #expect(gateway.queue.pushCount == 8)
            guard !headers.isEmpty else { return }
            #expect(try await gateway.post("/push/batch", body, headers: headers).body == response.body)
        }
    }

    // MARK: Validation

    @Test func `validation stores nothing and reports pushes with a fault or a warning`() async throws {
        try await TestGateway.run { gateway in
            let path = "/api/v1/push/validate"
            let array = try await gateway.post(path, "[\(pushLine(0)),\(Self.silent),\(Self.tokens),\(Self.refused),7]")
            #expect(array.status == 200)
            #expect(array.json["accepted"] as? Int == 5)
            #expect(array.json["warned"] as? Int == 4)
            #expect(array.json["refused"] as? Int == 3)
            let results = try #require(array.json["results"] as? [[String: Any]])
            #expect(results.map { $0["index"] as? Int } == [1, 2, 2, 3, 4])
            #expect(results.map { $0["token"] as? Int } == [nil, 1, nil, nil, nil])
            #expect(results.map { $0["status"] as? String } == ["warned", "refused", "warned", "refused", "refused"])
            let one = try await gateway.post(path, "\n{\n" + pushLine(1).dropFirst())
            #expect(one.json["accepted"] as? Int == 1)
            let lines = try await gateway.post(
                path + "?strict=true", Self.silent + "\n\n" + pushLine(1), type: Self.ndjson)
            #expect(lines.json["accepted"] as? Int == 1)
            #expect(lines.json["refused"] as? Int == 1)
            for empty in ["", "[]", "  "] { #expect(try await gateway.post(path, empty).status == 400) }
            #expect(gateway.queue.pushCount == 0)
            #expect(gateway.queue.appendCount == 0)
        }
    }

    @Test func `a validation names at most 1,000 pushes`() async throws {
        try await TestGateway.run { gateway in
            let body = String(repeating: "{}\n", count: 1500)
            let response = try await gateway.post("/api/v1/push/validate", body, type: Self.ndjson)
            #expect(response.json["refused"] as? Int == 1500)
            #expect((response.json["results"] as? [Any])?.count == 1000)
        }
    }

    // MARK: Inputs that once went wrong

    /// Bodies that an earlier version accepted without a word, with what the response must name now.
    @Test(arguments: [
        (#"{"device_token":"TOKEN","payload":{"aps":{"content-available":1}}}"#, ["alert-without-content"]),
        (
            #"{"device_token":"TOKEN","topic":"com.example.app.voip","payload":{"call":1}}"#,
            ["topic-suffix-wrong", "aps-missing"]
        ),
        (#"{"device_token":"TOKEN","message":"{\"a\":1}"}"#, nil),
    ])
    func `a push without effect is named on every way in`(body: String, rules: [String]?) async throws {
        try await TestGateway.run { gateway in
            let push = body.replacing("TOKEN", with: Self.token)
            for headers in [[], ["Idempotency-Key: k"]] {
                let single = try await gateway.post("/push", push, headers: headers)
                #expect(single.status == 200)
                #expect(Self.rules(single.json) == rules)
                let bulk = try await gateway.post(
                    "/push/batch", push, type: Self.ndjson, headers: headers.map { $0 + "b" })
                #expect(bulk.lines.map { $0["status"] as? String } == ["accepted"])
                #expect(bulk.lines.map(Self.rules) == [rules])
            }
            for type in ["application/json", Self.ndjson] {
                let checked = try await gateway.post("/api/v1/push/validate", push, type: type)
                #expect(checked.json["accepted"] as? Int == 1)
                #expect(Self.rules((checked.json["results"] as? [[String: Any]])?.first) == rules)
            }
            let batches = gateway.queue.batches
            #expect(gateway.queue.pushCount == 4)
            guard rules == nil else { return }
            for batch in batches {
                #expect(
                    String(decoding: batch.notifications.payload(at: 0), as: UTF8.self)
                        == #"{"aps":{"alert":"{\"a\":1}"}}"#)
            }
        }
    }

    @Test func `a misspelt key is named`() async throws {
        try await TestGateway.run { gateway in
            let push = pushLine(1).replacing("\"alert\":", with: "\"sound\":\"x\",\"Thread_ID\":")
            let response = try await gateway.post("/push", push)
            let warnings = try #require(response.json["warnings"] as? [[String: Any]])
            #expect(warnings.map { $0["rule"] as? String } == ["key-misspelt"])
            #expect(response.body.contains("`Thread_ID` resembles `thread-id`"), "\(response.body)")
        }
    }

    @Test func `an array for one push is referred to the bulk route`() async throws {
        try await TestGateway.run { gateway in
            for headers in [[], ["Idempotency-Key: k"]] {
                let response = try await gateway.post("/push", "[\(pushLine(1))]", headers: headers)
                #expect(response.status == 400)
                #expect((response.json["detail"] as? String)?.contains("/push/batch") == true)
            }
        }
    }
}
