/// Counts lines that are not blank, whatever pieces they come in.
package struct LineCount: Sendable {
    private var ended = 0
    private var isOpen = false
    package private(set) var isAtEnd = false

    package init() {}

    package var count: Int { ended + (isOpen ? 1 : 0) }

    package mutating func append(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                ended += isOpen ? 1 : 0
                isOpen = false
            } else if byte > UInt8(ascii: " ") {
                isOpen = true
            }
        }
    }

    package mutating func end() { isAtEnd = true }
}

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
