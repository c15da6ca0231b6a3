import Crypto
import Foundation
import Hummingbird
import NIOCore
import PushModel
import PushStore
import Synchronization

/// A request that may be sent again: whose it is, and what it said.
struct IdempotentRequest: Sendable {
    let key: IdempotencyKey
    /// SHA-256 of the body.
    let fingerprint: Data

    /// - Parameters:
    ///   - value: of the header.
    ///   - route: the same for all paths of a route.
    init(_ value: String, route: AcceptMetrics.Route, request: Request, body: ByteBuffer) {
        var hash = SHA256()
        Caller.scope(of: request).withUnsafeBytes { hash.update(bufferPointer: $0) }
        hash.update(data: Data("\(route.rawValue)\n\(value)".utf8))
        key = IdempotencyKey(digest: Data(hash.finalize()))
        fingerprint = body.withUnsafeReadableBytes { bytes in
            var hash = SHA256()
            hash.update(bufferPointer: bytes)
            return Data(hash.finalize())
        }
    }

    func storing(_ answer: StoredResponse, at now: WallTime) -> IdempotencyRecord {
        IdempotencyRecord(fingerprint: fingerprint, body: answer.encoded(), at: now)
    }
}

extension Problem {
    static let cannotStoreResponse = Problem(cannot: "remember answers; leave Idempotency-Key out")
}

/// Sees to it that requests with an `Idempotency-Key` are carried out once and answered as often as they come.
///
/// What is remembered was written with the pushes, so it is there exactly when they are: a client that never heard an
/// answer, or heard that the outcome is unknown, sends the same again and is told.
final class Idempotency: Sendable {
    private let queue: any IdempotentQueue
    private let retryAfter: Int
    private let metrics: AcceptMetrics
    private let wallClock: @Sendable () -> WallTime
    /// Keys whose requests are being served; as many as there are connections, at most.
    private let running = Mutex<Set<IdempotencyKey>>([])

    init(
        queue: any IdempotentQueue, retryAfter: Int, metrics: AcceptMetrics,
        wallClock: @escaping @Sendable () -> WallTime
    ) {
        self.queue = queue
        self.retryAfter = retryAfter
        self.metrics = metrics
        self.wallClock = wallClock
    }

    /// ResponseJSON as before when the key is known, and by `serve` when it is new.
    ///
    /// - Throws: 409 while another request with the key is served, 422 when the body is another one, 503 when the store
    ///   cannot tell, and what `serve` throws; then nothing is remembered.
    func answer(_ request: IdempotentRequest, serve: () async throws -> StoredResponse) async throws -> Response {
        guard running.withLock({ $0.insert(request.key).inserted }) else {
            var problem = Problem(
                .conflict, .idempotencyRunning,
                "a request with this Idempotency-Key is being served; send it again to get its answer"
            )
            problem.headers[.retryAfter] = String(retryAfter)
            throw problem
        }
        defer { running.withLock { _ = $0.remove(request.key) } }
        guard let known = try await find(request.key) else { return try await serve().response() }
        guard known.fingerprint == request.fingerprint else {
            throw Problem(
                .unprocessableContent, .idempotencyMismatch,
                "the body is not that of the first request with this Idempotency-Key; nothing was accepted"
            )
        }
        guard let answer = StoredResponse(known.body) else {
            var problem = Problem(
                .internalServerError, .serialisation,
                "this request was accepted before, by a version whose record this one cannot read"
            )
            problem.refusedPushes = 0
            throw problem
        }
        metrics.answeredAgain()
        var response = answer.response()
        response.headers[.idempotencyReplayed] = "true"
        return response
    }

    private func find(_ key: IdempotencyKey) async throws(Problem) -> IdempotencyRecord? {
        do {
            return try await queue.idempotencyRecord(for: key, now: wallClock())
        } catch {
            throw Problem(
                busy: error.code, "the store cannot tell whether this request was served before; send it again",
                retryAfter: retryAfter
            )
        }
    }
}
