import HTTPTypes
import NIOCore
import PushModel
import Synchronization

/// Reads whole bodies of bulk requests with an `Idempotency-Key`: their hash must be known before the first push is
/// stored.
///
/// All bodies together are bounded, so that clients that send slowly cannot exhaust the memory.
final class BufferedBodyReader: Sendable {
    private let bodyBytesMax: Int
    private let retryAfter: Int
    private let bytesMax: Int
    private let bytes = Atomic<Int>(0)

    init(configuration: AcceptConfiguration) {
        bodyBytesMax = configuration.idempotentBodyBytesMax
        bytesMax = configuration.idempotentBodiesBytesMax
        retryAfter = configuration.retryAfterSeconds
    }

    /// Reads the body, and counts it until `serve` returns.
    ///
    /// - Throws: 413 for a body that is too large, 503 while other bodies use up the limit, and the errors of `serve`.
    func withBody<Value>(of input: RequestInput, serve: (ByteBuffer) async throws -> Value) async throws -> Value {
        var acquired = 0
        defer { bytes.subtract(acquired, ordering: .relaxed) }
        let tooLarge = Problem(
            .contentTooLarge, .itemTooLarge,
            "with an Idempotency-Key a body has at most \(bodyBytesMax) bytes; split it, or leave the key out to stream it"
        )
        if let declared = input.declaredBytes, declared > bodyBytesMax { throw tooLarge }
        var whole = ByteBuffer()
        while let chunk = try await input.nextOrProblem() {
            guard input.receivedBytes <= bodyBytesMax else { throw tooLarge }
            acquired += chunk.readableBytes
            guard bytes.add(chunk.readableBytes, ordering: .relaxed).newValue <= bytesMax else {
                throw Problem(
                    busy: .overloaded,
                    "too many requests with an Idempotency-Key are being read; nothing was accepted, send it again later",
                    retryAfter: retryAfter
                )
            }
            whole.writeImmutableBuffer(chunk)
        }
        return try await serve(whole)
    }
}
