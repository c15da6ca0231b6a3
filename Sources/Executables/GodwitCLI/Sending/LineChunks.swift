/// Splits a byte stream into chunks of whole lines. The split depends only on the bytes, not on how they arrive, so a
/// repeated command sends the same chunks.
package struct LineChunks {
    /// Below the gateway's default limit for a request with an `Idempotency-Key`, 8 MiB, and small enough for a quick
    /// response.
    package static let bytesMax = 4 << 20

    private let bytesMax: Int
    private var rest: [UInt8] = []

    package init(bytesMax: Int = Self.bytesMax) {
        self.bytesMax = bytesMax
    }

    package mutating func append(_ bytes: some Collection<UInt8>) { rest.append(contentsOf: bytes) }

    /// The next full chunk; nil if more bytes are needed.
    ///
    /// - Throws: `GatewayFailure` for a line that is longer than a chunk.
    package mutating func next() throws -> [UInt8]? {
        guard rest.count > bytesMax else { return nil }
        guard let end = rest[..<bytesMax].lastIndex(of: UInt8(ascii: "\n")) else {
            throw GatewayFailure(description: "a line exceeds \(bytesMax.grouped) bytes, more than any push")
        }
        defer { rest.removeFirst(end + 1) }
        return Array(rest[...end])
    }

    /// The rest, after all bytes were appended and `next` returned nil; nil if there is none.
    package mutating func last() -> [UInt8]? {
        defer { rest = [] }
        return rest.isEmpty ? nil : rest
    }
}
