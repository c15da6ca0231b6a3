import APNSWire
import AsyncHTTPClient
import Foundation
import JSONText
import NIOCore
import NIOHTTP1
import NIOPosix
import PushModel

/// The gateway's HTTP API, as far as the command line uses it.
struct GatewayAPI {
    /// Ids asked for at once; an id is about 40 bytes.
    static let idsPerQuery = 1000
    /// An error document is a few hundred bytes.
    private static let errorBytesMax = 64 * 1024
    private static let statusBytesMax = 64 * 1024
    /// A page of 1,000 dead letters has about 300 KiB.
    private static let controlBytesMax = 4 * 1024 * 1024

    /// Without a slash at the end.
    let url: String
    /// How long the gateway may say nothing while it is asked something.
    let timeout: Duration
    private let client: HTTPClient

    /// Runs `body` with a client that is shut down afterwards, or when the gateway says nothing for longer than `patience`.
    ///
    /// - Throws: `GatewayFailure` with one sentence whenever the gateway is at fault or out of reach.
    static func with<Value>(
        _ url: String, timeout: Duration, _ body: (GatewayAPI) async throws -> Value
    ) async throws -> Value {
        let connectTime = min(timeout, .seconds(10))
        var configuration = HTTPClient.Configuration(
            timeout: .init(connect: .milliseconds(max(1, connectTime.milliseconds)))
        )
        // A gateway that is not there is to be reported now, not after ten seconds of trying.
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<Value, any Error>
        do {
            let url = url.hasSuffix("/") ? String(url.dropLast()) : url
            result = .success(try await body(GatewayAPI(url: url, timeout: timeout, client: client)))
        } catch {
            result = .failure(GatewayFailure(error, url: url))
        }
        try? await client.shutdown()
        return try result.get()
    }

    /// - Parameter call: tells the watch of every sign of life.
    private func watched<Value>(_ call: (ResponseTimeout) async throws -> Value) async throws -> Value {
        let watch = ResponseTimeout(limit: timeout)
        let client = client
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !watch.isOver { try await Task.sleep(for: .milliseconds(100)) }
                // Ends the call; nothing else reaches it.
                try? await client.shutdown()
            }
            defer { group.cancelAll() }
            do {
                return try await call(watch)
            } catch {
                guard watch.isOver else { throw error }
                throw GatewayFailure(
                    description: """
                        the gateway at \(url) has said nothing for \(timeout.short): it hangs or has much to do; what it was \
                        asked for may happen all the same
                        """
                )
            }
        }
    }

    /// Sends pushes, one JSON object a line, as a stream.
    ///
    /// - Parameter onLine: called for each line of the answer as it comes, in the order of the pushes.
    func sendBatch(_ pushes: PushSource, onLine: (ArraySlice<UInt8>) throws -> Void) async throws {
        try await watched { watch in
            var request = lineRequest("/push/batch")
            request.body = .stream(
                WatchedSource(source: pushes, watch: watch),
                length: pushes.sizeBytes.map { .known(Int64($0)) } ?? .unknown
            )
            try await lines(of: request, watch, onLine)
        }
    }

    /// Sends pushes, one JSON object a line, under a key: sent again, they are answered as before and not accepted twice.
    ///
    /// - Parameter requestID: by which what waits of them can be cancelled.
    func sendBatch(
        _ pushes: [UInt8], idempotencyKey: String, requestID: String?, onLine: (ArraySlice<UInt8>) throws -> Void
    ) async throws {
        try await watched { watch in
            var request = lineRequest("/push/batch")
            request.headers.add(name: "Idempotency-Key", value: idempotencyKey)
            if let requestID { request.headers.add(name: "X-Request-Id", value: requestID) }
            request.body = .bytes(pushes)
            try await lines(of: request, watch, onLine)
        }
    }

    /// What became of these pushes: one line each, in the order of the ids.
    func query(_ ids: [APNSID], onLine: (ArraySlice<UInt8>) throws -> Void) async throws {
        var body: [UInt8] = []
        for id in ids {
            JSONWriter.appendString("\(id)", to: &body)
            body.append(UInt8(ascii: "\n"))
        }
        var request = lineRequest("/api/v1/messages/query")
        request.body = .bytes(body)
        try await watched { try await lines(of: request, $0, onLine) }
    }

    private func lineRequest(_ path: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url + path)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-ndjson")
        request.headers.add(name: "Accept", value: "application/x-ndjson")
        return request
    }

    /// The status of one push as the gateway's JSON; nil when it knows no such push.
    func status(_ id: APNSID) async throws -> [UInt8]? {
        let request = HTTPClientRequest(url: "\(url)/api/v1/messages/\(id)")
        return try await watched { _ in
            let response = try await client.execute(request, deadline: .distantFuture)
            guard response.status != .notFound else { return nil }
            try await checkStatus(of: response)
            return Array(buffer: try await response.body.collect(upTo: Self.statusBytesMax))
        }
    }

    /// The JSON at `path`, which begins with a slash and is escaped.
    func get(_ path: String) async throws -> [UInt8] {
        try await control(HTTPClientRequest(url: url + path))
    }

    /// The JSON that is answered to the JSON `body`; nil: a request without a body.
    func post(_ path: String, _ body: [UInt8]? = nil) async throws -> [UInt8] {
        var request = HTTPClientRequest(url: url + path)
        request.method = .POST
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(body)
        }
        return try await control(request)
    }

    private func control(_ request: HTTPClientRequest) async throws -> [UInt8] {
        try await watched { _ in
            let response = try await client.execute(request, deadline: .distantFuture)
            try await checkStatus(of: response)
            return Array(buffer: try await response.body.collect(upTo: Self.controlBytesMax))
        }
    }

    private func lines(
        of request: HTTPClientRequest, _ watch: ResponseTimeout, _ onLine: (ArraySlice<UInt8>) throws -> Void
    ) async throws {
        let response = try await client.execute(request, deadline: .distantFuture)
        watch.sign()
        try await checkStatus(of: response)
        var splitter = LineSplitter()
        for try await chunk in response.body {
            watch.sign()
            try splitter.append(chunk.readableBytesView, onLine)
        }
        try splitter.finish(onLine)
    }

    private func checkStatus(of response: HTTPClientResponse) async throws {
        guard response.status != .ok else { return }
        let body = try? await response.body.collect(upTo: Self.errorBytesMax)
        let problem = body.map { Problem(Array(buffer: $0)) }
        var sentence = "the gateway answered \(response.status.code)"
        if let text = problem?.text { sentence += ": \(text)" }
        if let seconds = response.headers.first(name: "Retry-After") { sentence += " (try again in \(seconds) s)" }
        throw GatewayFailure(description: sentence)
    }
}
