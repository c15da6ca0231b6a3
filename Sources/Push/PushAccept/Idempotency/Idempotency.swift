import Crypto
import Foundation
import Hummingbird
import NIOCore
import PushModel
import PushStore
import Synchronization

/// The identity of a request with an `Idempotency-Key`, and the hash of its content.
struct IdempotentRequest: Sendable {
    let key: IdempotencyKey
    /// SHA-256 of the body.
    let fingerprint: Data

    /// - Parameters:
    ///   - value: of the header.
    ///   - route: the same for all paths of a route.
    init(_ value: String, route: AcceptMetrics.Route, caller: Caller, body: ByteBuffer) {
        var hash = SHA256()
        caller.scope.withUnsafeBytes { hash.update(bufferPointer: $0) }
        hash.update(data: Data("\(route.rawValue)\n\(value)".utf8))
        key = IdempotencyKey(digest: Data(hash.finalize()))
        fingerprint = body.withUnsafeReadableBytes { bytes in
            var hash = SHA256()
            hash.update(bufferPointer: bytes)
            return Data(hash.finalize())
        }
    }

    func record(of response: StoredResponse, at now: WallTime) -> IdempotencyRecord {
        IdempotencyRecord(fingerprint: fingerprint, body: response.encoded(), at: now)
    }
}

extension Problem {
    init(idempotencyRunning retryAfter: Int) {
        self.init(
            .conflict, .idempotencyRunning,
            "a request with this Idempotency-Key is in progress; send it again to get its response"
        )
        headers[.retryAfter] = String(retryAfter)
    }

    static let cannotStoreResponse = Problem(unsupported: "store responses; leave Idempotency-Key out")
}

/// Executes each request with an `Idempotency-Key` once and replays its stored response.
///
/// The response is stored in the same write as the pushes, so it exists exactly when they do. A client that got no
/// response, or one with an unknown outcome, repeats the request and gets the stored response.
final class Idempotency: Sendable {
    private let queue: any IdempotentQueue
    private let limit: IdempotencyUsage
    private let retryAfter: Int
    private let metrics: AcceptMetrics
    private let wallClock: @Sendable () -> WallTime
    /// Keys of requests in progress, at most one per connection.
    private let running = Mutex<Set<IdempotencyKey>>([])

    init(
        queue: any IdempotentQueue, limit: IdempotencyUsage, retryAfter: Int, metrics: AcceptMetrics,
        wallClock: @escaping @Sendable () -> WallTime
    ) {
        self.queue = queue
        self.limit = limit
        self.retryAfter = retryAfter
        self.metrics = metrics
        self.wallClock = wallClock
    }

    /// The stored response if the key is known, otherwise the response of `serve`, which stores it.
    ///
    /// - Throws: 409 while another request with the key is in progress, 422 for a different body, 503 if the store is
    ///   full or does not respond, and the errors of `serve`, after which no response is stored.
    func respond(to request: IdempotentRequest, serve: () async throws -> StoredResponse) async throws -> Response {
        guard running.withLock({ $0.insert(request.key).inserted }) else {
            throw Problem(idempotencyRunning: retryAfter)
        }
        defer { running.withLock { _ = $0.remove(request.key) } }
        if let known = try await find(request.key) { return try replay(known, to: request) }
        try refuseIfFull()
        do {
            return try await serve().response()
        } catch let problem as Problem where problem.code == .idempotencyRunning {
            // Another instance that got the same request was faster.
            guard let known = try await find(request.key) else { throw problem }
            return try replay(known, to: request)
        }
    }

    private func replay(_ known: IdempotencyRecord, to request: IdempotentRequest) throws(Problem) -> Response {
        guard known.fingerprint == request.fingerprint else {
            throw Problem(
                .unprocessableContent, .idempotencyMismatch,
                "the body differs from the first request with this Idempotency-Key; nothing was accepted, use a new key"
            )
        }
        guard let stored = StoredResponse(known.body) else {
            var problem = Problem(
                .internalServerError, .serialisation,
                "this request was accepted before, but this version cannot read the stored response; do not send it again"
            )
            problem.refusedPushes = 0
            throw problem
        }
        metrics.responseReplayed()
        var response = stored.response()
        response.headers[.idempotencyReplayed] = "true"
        return response
    }

    /// - Throws: 503 if too many responses are stored. The oldest ones must not be deleted before their time: a repeated
    ///   request would be executed again.
    private func refuseIfFull() throws(Problem) {
        let usage = queue.idempotencyUsage()
        guard usage.records >= limit.records || usage.bytes >= limit.bytes else { return }
        metrics.shedForStoredResponses()
        throw Problem(
            busy: .overloaded,
            "the store of responses to requests with an Idempotency-Key is full, and each is kept for 24 hours; nothing was accepted, send it again later or leave the key out",
            retryAfter: Self.fullRetryAfter
        )
    }

    /// Responses are pruned once a minute.
    private static let fullRetryAfter = 60

    private func find(_ key: IdempotencyKey) async throws(Problem) -> IdempotencyRecord? {
        do {
            return try await queue.idempotencyRecord(for: key, now: wallClock())
        } catch {
            throw Problem(
                busy: error.code,
                "the store does not respond, so it is unknown whether this request was accepted before; send it again",
                retryAfter: retryAfter
            )
        }
    }
}
