import HTTPTypes
import NIOCore
import PushModel
import Synchronization

/// Reads whole bodies of bulk requests with an `Idempotency-Key`, which must be known before the first push is stored.
///
/// What all of them hold together is bounded, so that clients that send slowly cannot fill the memory.
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

    /// Reads the body and lends it.
    ///
    /// - Throws: 413 for one that is too large, 503 while others take all the room, and what `serve` throws.
    func withBody<Value>(of input: RequestInput, serve: (ByteBuffer) async throws -> Value) async throws -> Value {
        var taken = 0
        defer { bytes.subtract(taken, ordering: .relaxed) }
        let tooLarge = Problem(
            .contentTooLarge, .itemTooLarge,
            "with an Idempotency-Key a body has at most \(bodyBytesMax) bytes; split it, or leave the key out to stream it"
        )
        if let declared = input.declaredBytes, declared > bodyBytesMax { throw tooLarge }
        var whole = ByteBuffer()
        while let chunk = try await input.nextOrProblem() {
            guard input.receivedBytes <= bodyBytesMax else { throw tooLarge }
            taken += chunk.readableBytes
            guard bytes.add(chunk.readableBytes, ordering: .relaxed).newValue <= bytesMax else {
                throw Problem(
                    busy: .overloaded, "too many requests with an Idempotency-Key are being read; nothing was accepted",
                    retryAfter: retryAfter
                )
            }
            whole.writeImmutableBuffer(chunk)
        }
        return try await serve(whole)
    }
}
