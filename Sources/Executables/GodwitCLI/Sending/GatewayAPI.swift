import APNSWire
import AsyncHTTPClient
import Foundation
import JSONText
import NIOCore
import NIOHTTP1
import NIOPosix
import PushModel

/// A client of the gateway's HTTP API, for the commands.
struct GatewayAPI {
    /// IDs in one request; an ID takes about 40 bytes.
    static let idsPerRequestMax = 1000
    /// A problem document has a few hundred bytes.
    private static let errorBytesMax = 64 * 1024
    /// A page of 1,000 dead letters takes about 300 KiB.
    private static let controlBytesMax = 4 * 1024 * 1024

    private let connection: GatewayConnection
    /// How long the gateway may take to respond.
    let timeout: Duration
    private let client: HTTPClient

    /// Without user, password and a trailing slash.
    var url: String { connection.url }

    /// Runs `body` with a client that is shut down afterwards, or when the gateway does not respond for `timeout`.
    ///
    /// - Throws: `GatewayFailure`, whose description is one line.
    static func with<Value>(
        _ connection: GatewayConnection, timeout: Duration, _ body: (GatewayAPI) async throws -> Value
    ) async throws -> Value {
        let connectTime = min(timeout, .seconds(10))
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: connection.tls,
            // A redirect would send the caller's headers, which may hold keys, to another server.
            redirectConfiguration: .disallow,
            timeout: .init(connect: .milliseconds(max(1, connectTime.milliseconds)))
        )
        // Report an unreachable gateway immediately instead of retrying for ten seconds.
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(GatewayAPI(connection: connection, timeout: timeout, client: client)))
        } catch {
            result = .failure(GatewayFailure(error, url: connection.url))
        }
        try? await client.shutdown()
        return try result.get()
    }

    /// Runs `call` and fails it when the gateway does not respond for `timeout`.
    ///
    /// - Parameter call: reports all progress of the gateway to the `ResponseTimeout`.
    private func withResponseTimeout<Value>(
        _ call: (ResponseTimeout) async throws -> Value
    ) async throws -> Value {
        let responseTimeout = ResponseTimeout(limit: timeout)
        let client = client
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !responseTimeout.isExceeded { try await Task.sleep(for: .milliseconds(100)) }
                // The only way to end the call.
                try? await client.shutdown()
            }
            defer { group.cancelAll() }
            do {
                return try await call(responseTimeout)
            } catch {
                guard responseTimeout.isExceeded else { throw error }
                throw GatewayFailure(
                    description: """
                        the gateway at \(url) has not responded for \(timeout.short): it hangs or is overloaded; the \
                        request may still take effect
                        """
                )
            }
        }
    }

    /// Streams pushes, one JSON object per line.
    ///
    /// - Parameter onLine: called for each line of the response on arrival, in the order of the pushes.
    func sendBatch(_ pushes: PushSource, onLine: (ArraySlice<UInt8>) throws -> Void) async throws {
        try await withResponseTimeout { responseTimeout in
            var request = lineRequest("/push/batch")
            request.body = .stream(
                TimedPushSource(source: pushes, responseTimeout: responseTimeout),
                length: pushes.sizeBytes.map { .known(Int64($0)) } ?? .unknown
            )
            _ = try await readLines(of: request, responseTimeout, onLine)
        }
    }

    /// Sends pushes, one JSON object per line, with an `Idempotency-Key`: a repeated request receives the stored
    /// response, and no push is accepted twice.
    ///
    /// - Parameter requestID: the `X-Request-Id`, by which waiting pushes can be cancelled.
    /// - Returns: whether the response is a stored one.
    func sendBatch(
        _ pushes: [UInt8], idempotencyKey: String, requestID: String?, onLine: (ArraySlice<UInt8>) throws -> Void
    ) async throws -> Bool {
        try await withResponseTimeout { responseTimeout in
            var request = lineRequest("/push/batch")
            request.headers.add(name: "Idempotency-Key", value: idempotencyKey)
            if let requestID { request.headers.replaceOrAdd(name: "X-Request-Id", value: requestID) }
            request.body = .bytes(pushes)
            let headers = try await readLines(of: request, responseTimeout, onLine)
            return headers.contains(name: "Idempotency-Replayed")
        }
    }

    /// Queries the state of pushes: one line each, in the order of `ids`.
    func query(_ ids: [APNSID], onLine: (ArraySlice<UInt8>) throws -> Void) async throws {
        var body: [UInt8] = []
        for id in ids {
            JSONWriter.appendString("\(id)", to: &body)
            body.append(UInt8(ascii: "\n"))
        }
        var request = lineRequest("/api/v1/messages/query")
        request.body = .bytes(body)
        _ = try await withResponseTimeout { try await readLines(of: request, $0, onLine) }
    }

    private func lineRequest(_ path: String) -> HTTPClientRequest {
        var request = request(path)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-ndjson")
        request.headers.add(name: "Accept", value: "application/x-ndjson")
        return request
    }

    /// The status of one push as JSON; nil if the gateway has no such push.
    func status(_ id: APNSID) async throws -> [UInt8]? {
        do {
            let body = try await get("/api/v1/messages/\(id)")
            guard let line = try? ResponseLine(body[...]), line.id == id else { throw GatewayFailure.otherServer(url) }
            return body
        } catch let failure as GatewayFailure where failure.status == 404 && failure.problem?.isNoRoute == false {
            return nil
        }
    }

    /// Gets the JSON at `path`, which starts with a slash and is percent-encoded.
    func get(_ path: String) async throws -> [UInt8] {
        try await execute(request(path))
    }

    /// Posts the JSON `body`, or no body if it is nil, and returns the JSON of the response.
    func post(_ path: String, _ body: [UInt8]? = nil) async throws -> [UInt8] {
        var request = request(path)
        request.method = .POST
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(body)
        }
        return try await execute(request)
    }

    private func request(_ path: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url + path)
        request.headers = connection.headers
        return request
    }

    private func execute(_ request: HTTPClientRequest) async throws -> [UInt8] {
        try await withResponseTimeout { _ in
            let response = try await client.execute(request, deadline: .distantFuture)
            try await checkStatus(of: response)
            return Array(buffer: try await response.body.collect(upTo: Self.controlBytesMax))
        }
    }

    /// - Returns: the headers of the response.
    private func readLines(
        of request: HTTPClientRequest, _ responseTimeout: ResponseTimeout, _ onLine: (ArraySlice<UInt8>) throws -> Void
    ) async throws -> HTTPHeaders {
        let response = try await client.execute(request, deadline: .distantFuture)
        responseTimeout.recordProgress()
        try await checkStatus(of: response)
        var splitter = LineSplitter()
        for try await chunk in response.body {
            responseTimeout.recordProgress()
            try splitter.append(chunk.readableBytesView, onLine)
        }
        try splitter.finish(onLine)
        return response.headers
    }

    private func checkStatus(of response: HTTPClientResponse) async throws {
        guard response.status != .ok else { return }
        let status = Int(response.status.code)
        let body = try? await response.body.collect(upTo: Self.errorBytesMax)
        let problem = body.map { ProblemDocument(Array(buffer: $0)) }
        let isFromGateway = problem?.isFromGateway == true
        // A proxy in front of a gateway may return other statuses in its own format, such as 401, 413 and 502.
        if !isFromGateway, [404, 405, 501].contains(status) { throw GatewayFailure.otherServer(url, status: status) }
        var description = "the gateway returned \(status)"
        if let text = problem?.text { description += ": \(text)" }
        if (300..<400).contains(status) { description += ": it redirects; use the URL of the gateway itself" }
        if let seconds = response.headers.first(name: "Retry-After") { description += " (retry in \(seconds) s)" }
        throw GatewayFailure(description: description, status: status, problem: isFromGateway ? problem : nil)
    }
}
