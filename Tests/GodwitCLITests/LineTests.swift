import APNSWire
import GodwitCLI
import Testing

@Suite struct `Splitting a response into lines` {
    @Test(arguments: 1...12)
    func `lines are assembled from chunks of any size`(_ size: Int) throws {
        let text = Array("{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}".utf8)
        var splitter = LineSplitter()
        var lines: [String] = []
        for start in stride(from: 0, to: text.count, by: size) {
            try splitter.append(text[start..<min(text.count, start + size)]) {
                lines.append(String(decoding: $0, as: UTF8.self))
            }
        }
        try splitter.finish { lines.append(String(decoding: $0, as: UTF8.self)) }
        #expect(lines == ["{\"a\":1}", "{\"b\":2}\r", "{\"c\":3}"])
    }

    @Test func `an unterminated line over 1 MiB is an error`() {
        var splitter = LineSplitter()
        let chunk = [UInt8](repeating: 0x20, count: LineSplitter.lineBytesMax + 1)
        #expect(throws: (any Error).self) { try splitter.append(chunk) { _ in } }
    }
}

@Suite struct `Splitting a file into chunks of lines` {
    @Test(arguments: [1, 2, 3, 5, 7, 100])
    func `the split does not depend on how the bytes arrive`(_ size: Int) throws {
        let text = Array("1234\n12\n123456789\n\n1\nend".utf8)
        var chunks = LineChunks(bytesMax: 10)
        var found: [String] = []
        for start in stride(from: 0, to: text.count, by: size) {
            chunks.append(text[start..<min(text.count, start + size)])
            while let chunk = try chunks.next() { found.append(String(decoding: chunk, as: UTF8.self)) }
        }
        if let chunk = chunks.last() { found.append(String(decoding: chunk, as: UTF8.self)) }
        #expect(found == ["1234\n12\n", "123456789\n", "\n1\nend"])
        #expect(chunks.last() == nil)
    }

    @Test func `a line longer than a chunk is an error`() throws {
        var chunks = LineChunks(bytesMax: 10)
        chunks.append(Array("1234567890".utf8))
        #expect(try chunks.next() == nil)
        chunks.append(Array("\n".utf8))
        #expect(throws: GatewayFailure.self) { try chunks.next() }
    }
}

@Suite struct `The pushes in a stream of lines` {
    private static let token = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
    private static let text = """
        {"device_token":"\(token)","payload":{}}

          \r
        {"payload":{"device_token":"11111111"},"device_id":"\(token.uppercased())"}\r
        {"device_token":"not a token, but a secret"}
        {
        {"device_token":"abcd"}
        """

    @Test(arguments: [1, 2, 3, 100, 1000])
    func `have their line and the first digits of the token, however the bytes arrive`(_ size: Int) {
        let bytes = Array("\u{FEFF}\(Self.text)".utf8)
        var lines = PushLines()
        for start in stride(from: 0, to: bytes.count, by: size) {
            lines.append(bytes[start..<min(bytes.count, start + size)])
        }
        #expect(lines.count == 4 && !lines.isAtEnd)
        lines.end()
        lines.end()
        #expect(lines.count == 5 && lines.isAtEnd)
        var found: [PushLine] = []
        while let line = lines.next() { found.append(line) }
        #expect(found.map(\.number) == [1, 4, 5, 6, 7])
        // Never a whole token, and nothing that is no token.
        #expect(found.map(\.tokenPrefix) == ["00fc13ad", "00fc13ad", "", "", ""])
    }

    @Test func `are given in order, also while others are added`() {
        var lines = PushLines()
        var numbers: [UInt32] = []
        for _ in 0..<20_000 {
            lines.append(Array("{}\n{}\n".utf8))
            if let line = lines.next() { numbers.append(line.number) }
        }
        while let line = lines.next() { numbers.append(line.number) }
        #expect(numbers == Array(1...40_000))
    }
}

@Suite struct `Result lines` {
    private static let push = PushLine(number: 8, token: String(repeating: "0a", count: 32))

    @Test func `begin with what identifies the push`() {
        let gatewayLine = #"{"index":3,"msg_id":"x","status":"accepted"}"#
        #expect(
            Self.line(gatewayLine, isFile: true)
                == #"{"index":7,"line":8,"token":"0a0a0a0a","msg_id":"x","status":"accepted"}"#)
        #expect(
            Self.line(#"{"msg_id":"x"}"#, isFile: false) == #"{"index":7,"token":"0a0a0a0a","msg_id":"x"}"#)
    }

    @Test func `of pushes without a verdict have the ID`() {
        let id = APNSID(high: 1, low: 2)
        let push = SentPush(id: id, index: 7, line: PushLine(number: 8, token: ""))
        let line = String(decoding: ResultLine.bytes(push, state: "waiting", isFile: true), as: UTF8.self)
        #expect(line == #"{"index":7,"line":8,"msg_id":"\#(id)","state":"waiting"}"#)
    }

    private static func line(_ text: String, isFile: Bool) -> String {
        String(
            decoding: ResultLine.bytes(Array(text.utf8)[...], index: 7, push: push, isFile: isFile), as: UTF8.self)
    }
}
