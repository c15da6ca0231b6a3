/// Cuts lines into chunks, always at the same places whatever pieces they come in: each chunk has as many whole lines as
/// fit.
package struct LineChunks {
    /// Under what a gateway takes with an `Idempotency-Key`, 8 MiB, and little enough to be answered soon.
    package static let bytesMax = 4 << 20

    private let bytesMax: Int
    private var rest: [UInt8] = []

    package init(bytesMax: Int = Self.bytesMax) {
        self.bytesMax = bytesMax
    }

    package mutating func append(_ bytes: some Collection<UInt8>) { rest.append(contentsOf: bytes) }

    /// A chunk that nothing can be added to; nil when more bytes are needed to know.
    ///
    /// - Throws: `GatewayFailure` for a line that is longer than a chunk.
    package mutating func next() throws -> [UInt8]? {
        guard rest.count > bytesMax else { return nil }
        guard let end = rest[..<bytesMax].lastIndex(of: UInt8(ascii: "\n")) else {
            throw GatewayFailure(description: "a line has more than \(bytesMax.grouped) bytes; no push is that large")
        }
        defer { rest.removeFirst(end + 1) }
        return Array(rest[...end])
    }

    /// What is left once everything was appended and `next` gave nil; nil: nothing.
    package mutating func last() -> [UInt8]? {
        defer { rest = [] }
        return rest.isEmpty ? nil : rest
    }
}
