import Foundation
import PushAccept
import PushModel
import Telemetry
import Testing

/// Runs whole requests through real HTTP, cut in pieces.
@Suite struct `Bulk requests in pieces` {
    static let lines: String = (0..<50).map { number in
        switch number % 10 {
        case 3: "  "  // blank: no item
        case 5: "{\"device_token\":\"zz\"}"
        case 7: "nonsense"
        case 8: pushLine(number, #","lane":"urgent""#)
        default: pushLine(number)
        }
    }.joined(separator: "\r\n")

    private static func items(_ pieces: [String], _ format: ItemFramer.Format) -> [String] {
        var framer = ItemFramer(format: format, itemBytesMax: 1000)
        var items: [String] = []
        func take(_ item: ItemFramer.Item) {
            switch item {
            case .bytes(let bytes): items.append(String(decoding: bytes, as: UTF8.self))
            case .tooLarge: items.append("too large")
            }
        }
        for piece in pieces { Array(piece.utf8).withUnsafeBytes { framer.feed($0, take) } }
        items.append("\(framer.end(isCutOff: false, take))")
        return items
    }

    private static func cuts(_ text: String) -> [[String]] {
        text.utf8.indices.map { [String(text.utf8[..<$0])!, String(text.utf8[$0...])!] }
    }

    @Test func `lines are the same wherever the body is cut`() {
        let whole = Self.items([Self.lines], .lines)
        #expect(whole.count == 46)
        for pieces in Self.cuts(Self.lines) { #expect(Self.items(pieces, .lines) == whole) }
        #expect(Self.items(Self.lines.map { String($0) }, .lines) == whole)
    }

    @Test func `elements are the same wherever the body is cut`() {
        let array = " \n[ {\"a\":[1,{\"b\":\"]},{\\\"\"}]} ,\t\"x,y\\\\\" , 12,[\"]\"], null\n,{} ] \r\n"
        let whole = Self.items([array], .array)
        #expect(whole == [#"{"a":[1,{"b":"]},{\""}]} "#, #""x,y\\" "#, "12", #"["]"]"#, "null\n", "{} ", "clean"])
        for pieces in Self.cuts(array) { #expect(Self.items(pieces, .array) == whole) }
        #expect(Self.items(array.map { String($0) }, .array) == whole)
    }

    @Test func `an array tells how it ended`() {
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

    @Test func `a line of 100 MB takes no memory`() {
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
    func `a request in small pieces is answered like a whole one`(size: Int) async throws {
        try await TestGateway.run { gateway in
            let whole = try await gateway.post("/push/batch", Self.lines, type: "application/x-ndjson")
            let port = gateway.port
            let pieces = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push/batch HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
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
            #expect(shape(pieces) == shape(whole))
        }
    }

    private func shape(_ response: WireResponse) -> [String] {
        response.lines.map { line in
            "\(line["index"] ?? "") \(line["status"] ?? "") \(line["code"] ?? "") \(line["detail"] ?? "")"
        }
    }
}
