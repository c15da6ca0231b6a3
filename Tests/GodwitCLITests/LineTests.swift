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

@Suite struct `Counting lines` {
    @Test(arguments: [1, 2, 3, 100])
    func `lines are counted without blank ones, however the bytes arrive`(_ size: Int) {
        let text = Array("1234\n\n  \n12\r\n\r\n56".utf8)
        var lines = LineCount()
        for start in stride(from: 0, to: text.count, by: size) {
            lines.append(text[start..<min(text.count, start + size)])
        }
        #expect(lines.count == 3 && !lines.isAtEnd)
    }
}
