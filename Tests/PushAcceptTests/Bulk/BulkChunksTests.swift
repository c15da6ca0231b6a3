import Foundation
import JSONText
import PushAccept
import PushModel
import Telemetry
import Testing

/// Bodies that are split into chunks at every position.
@Suite struct `Bulk requests in chunks` {
    static let lines: String = (0..<50).map { number in
        switch number % 10 {
        case 3: "  "  // blank: no item
        case 5: "{\"device_token\":\"zz\"}"
        case 7: "nonsense"
        case 8: pushLine(number, #","lane":"urgent""#)
        default: pushLine(number)
        }
    }.joined(separator: "\r\n")

    private static func items(_ chunks: [String], _ format: ItemFramer.Format) -> [String] {
        items(chunks.map { Array($0.utf8) }, format)
    }

    private static func items(_ chunks: [[UInt8]], _ format: ItemFramer.Format) -> [String] {
        var framer = ItemFramer(format: format, itemBytesMax: 1000)
        var items: [String] = []
        func take(_ item: ItemFramer.Item) {
            switch item {
            case .bytes(let bytes): items.append(String(decoding: bytes, as: UTF8.self))
            case .tooLarge: items.append("too large")
            }
        }
        for chunk in chunks { chunk.withUnsafeBytes { framer.feed($0, take) } }
        items.append("\(framer.end(isCutOff: false, take))")
        return items
    }

    private static func splits(_ text: String) -> [[String]] {
        text.utf8.indices.map { [String(text.utf8[..<$0])!, String(text.utf8[$0...])!] }
    }

    @Test func `lines are the same wherever the body is split`() {
        let whole = Self.items([Self.lines], .lines)
        #expect(whole.count == 46)
        for chunks in Self.splits(Self.lines) { #expect(Self.items(chunks, .lines) == whole) }
        #expect(Self.items(Self.lines.map { String($0) }, .lines) == whole)
    }

    @Test func `elements are the same wherever the body is split`() {
        let array = " \n[ {\"a\":[1,{\"b\":\"]},{\\\"\"}]} ,\t\"x,y\\\\\" , 12,[\"]\"], null\n,{} ] \r\n"
        let whole = Self.items([array], .array)
        #expect(whole == [#"{"a":[1,{"b":"]},{\""}]} "#, #""x,y\\" "#, "12", #"["]"]"#, "null\n", "{} ", "clean"])
        for chunks in Self.splits(array) { #expect(Self.items(chunks, .array) == whole) }
        #expect(Self.items(array.map { String($0) }, .array) == whole)
    }

    @Test func `a byte order mark at the start of the body is skipped, wherever the body is split`() {
        let mark = ByteOrderMark.bytes
        for (format, text) in [(ItemFramer.Format.lines, "1\n2"), (.array, "[1,2]")] {
            let body = mark + text.utf8
            for end in 0...body.count {
                #expect(Self.items([Array(body[..<end]), Array(body[end...])], format) == ["1", "2", "clean"])
            }
            #expect(Self.items(body.map { [$0] }, format) == ["1", "2", "clean"])
        }
        #expect(Self.items([mark], .lines) == ["clean"])
        #expect(Self.items([mark], .array) == ["notAnArray"])
        // A part of a mark is text.
        for length in 1...2 {
            #expect(Self.items([Array(mark[..<length]), Array("\n1".utf8)], .lines).dropFirst() == ["1", "clean"])
            #expect(Self.items([Array(mark[..<length])], .lines).count == 2)
            #expect(Self.items([Array(mark[..<length]), Array("[1]".utf8)], .array) == ["notAnArray"])
        }
    }

    @Test func `a push after a byte order mark is accepted on every route`() async throws {
        try await TestGateway.run { gateway in
            let line = "\u{FEFF}" + pushLine(1)
            for (path, body, type) in [
                ("/push", line, "application/json"), ("/push/batch", line, "application/x-ndjson"),
                ("/push/batch", "\u{FEFF}[\(pushLine(2))]", "application/json"),
                // Files with marks that were put together.
                ("/push/batch", line + "\n" + line, "application/x-ndjson"),
            ] {
                let response = try await gateway.post(path, body, type: type)
                #expect(response.status == 200 && !response.body.contains("\"status\":\"refused\""), "\(response.body)")
            }
            let keyed = try await gateway.post(
                "/push/batch", line, type: "application/x-ndjson", headers: ["Idempotency-Key: \"a\""])
            #expect(keyed.status == 200 && !keyed.body.contains("\"status\":\"refused\""), "\(keyed.body)")
            let single = try await gateway.post("/push", line, headers: ["Idempotency-Key: \"b\""])
            #expect(single.status == 200, "\(single.body)")
            for (body, type) in [
                (line, "application/json"), (line, "application/x-ndjson"), ("\u{FEFF}[\(line)]", "application/json"),
            ] {
                let response = try await gateway.post("/api/v1/push/validate", body, type: type)
                #expect(response.json["accepted"] as? Int == 1, "\(response.body)")
            }
            let ids = "\u{FEFF}{\"ids\":[\"0190b3a5-7c1e-7d6f-8a51-5d0c8f3b0000\"]}"
            for path in ["messages/query", "messages/cancel", "dead-letters/replay", "dead-letters/purge"] {
                let response = try await gateway.post("/api/v1/\(path)", ids)
                #expect(response.status == 200, "\(path) \(response.body)")
            }
            let search = try await gateway.post("/api/v1/messages/search", "\u{FEFF}{\"limit\":1}")
            #expect(search.status == 200, "\(search.body)")
            let lines = try await gateway.post(
                "/api/v1/messages/query", "\u{FEFF}0190b3a5-7c1e-7d6f-8a51-5d0c8f3b0000", type: "application/x-ndjson")
            #expect(lines.lines.map { $0["state"] as? String } == ["unknown"], "\(lines.body)")
        }
    }

    @Test func `a validation skips a byte order mark in pieces`() {
        for text in ["[\(pushLine(1))]", pushLine(1)] {
            let body = Array("\u{FEFF}\(text)".utf8)
            for end in 0...4 {
                var validator = PushValidator(
                    apps: TestGateway.oneApp, format: .json, strict: false, reportsMax: 10)
                for part in [body[..<end], body[end...]] {
                    part.withUnsafeBytes { validator.received($0, now: TestGateway.now) }
                }
                validator.ended(now: TestGateway.now)
                #expect(validator.accepted == 1 && validator.refused == 0, "cut after \(end) bytes")
            }
        }
    }

    @Test func `the ending of an array is reported`() {
        #expect(Self.items(["[]"], .array) == ["clean"])
        #expect(Self.items(["[{}"], .array) == ["truncated"])
        #expect(Self.items(["[{},"], .array) == ["{}", "truncated"])
        #expect(Self.items(["[{},]"], .array) == ["{}", "", "clean"])
        #expect(Self.items(["[{}] x"], .array) == ["{}", "trailing"])
        #expect(Self.items(["{}"], .array) == ["notAnArray"])
        #expect(Self.items([""], .array) == ["notAnArray"])
    }

    @Test func `an item that is too large is skipped to its end`() {
        let long = String(repeating: "x", count: 5000)
        #expect(
            Self.items(["a\n", String(long.prefix(900)), String(long.prefix(900)), "\nb\n"], .lines) == [
                "a", "too large", "b", "clean",
            ])
        #expect(Self.items(["a\n\(long)\nb"], .lines) == ["a", "too large", "b", "clean"])
        #expect(Self.items(["[\"", long, "\",2]"], .array) == ["too large", "2", "clean"])
        #expect(Self.items([long], .lines) == ["too large", "clean"])
    }

    @Test func `a line of 100 MB uses no memory`() {
        var framer = ItemFramer(format: .lines, itemBytesMax: 65_536)
        var results: [String] = []
        func take(_ item: ItemFramer.Item) {
            if case .tooLarge = item { results.append("too large") } else { results.append("item") }
        }
        let chunk = [UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000)
        let before = ProcessUsage.residentBytes
        for _ in 0..<100 { chunk.withUnsafeBytes { framer.feed($0, take) } }
        let grown = ProcessUsage.residentBytes - before
        Array("\n{}\n".utf8).withUnsafeBytes { framer.feed($0, take) }
        #expect(results == ["too large", "item"])
        #expect(grown < 50_000_000, "\(grown) bytes")
    }

    @Test(arguments: [7, 64, 1000])
    func `a request in small chunks gets the same response`(size: Int) async throws {
        try await TestGateway.run { gateway in
            let whole = try await gateway.post("/push/batch", Self.lines, type: "application/x-ndjson")
            let port = gateway.port
            let chunked = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
                        + "Transfer-Encoding: chunked\r\n\r\n"
                )
                var rest = Self.lines[...]
                while !rest.isEmpty {
                    try client.sendChunk(String(rest.prefix(size)))
                    rest = rest.dropFirst(size)
                }
                try client.send("0\r\n\r\n")
                return try client.readResponse()
            }
            #expect(whole.lines.count == 45)
            #expect(shape(chunked) == shape(whole))
        }
    }

    private func shape(_ response: WireResponse) -> [String] {
        response.lines.map { line in
            "\(line["index"] ?? "") \(line["status"] ?? "") \(line["code"] ?? "") \(line["detail"] ?? "")"
        }
    }
}
