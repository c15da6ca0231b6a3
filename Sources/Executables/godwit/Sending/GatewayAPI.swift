import APNSWire
import AsyncHTTPClient
import Foundation
import JSONText
import NIOCore
import NIOPosix

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
    private let client: HTTPClient

    /// Runs `body` with a client that is shut down afterwards.
    ///
    /// - Throws: `GatewayFailure` with one sentence whenever the gateway is at fault or out of reach.
    static func with<Value>(_ url: String, _ body: (GatewayAPI) async throws -> Value) async throws -> Value {
        var configuration = HTTPClient.Configuration(timeout: .init(connect: .seconds(10)))
        // A gateway that is not there is to be reported now, not after ten seconds of trying.
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<Value, any Error>
        do {
            let url = url.hasSuffix("/") ? String(url.dropLast()) : url
            result = .success(try await body(GatewayAPI(url: url, client: client)))
        } catch {
            result = .failure(GatewayFailure(error, url: url))
        }
        try? await client.shutdown()
        return try result.get()
    }

    /// Sends pushes, one JSON object a line, as a stream.
    ///
    /// - Parameter onLine: called for each line of the answer as it comes, in the order of the pushes.
    func sendBatch(_ pushes: PushSource, onLine: (ArraySlice<UInt8>) throws -> Void) async throws {
        var request = HTTPClientRequest(url: "\(url)/push/batch")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-ndjson")
        request.headers.add(name: "Accept", value: "application/x-ndjson")
        request.body = .stream(pushes, length: pushes.sizeBytes.map { .known(Int64($0)) } ?? .unknown)
        // No deadline: standard input may take its time. The connection's end is noticed by itself.
        let response = try await client.execute(request, deadline: .distantFuture)
        try await lines(of: response, onLine)
    }

    /// What became of these pushes: one line each, in the order of the ids.
    func query(_ ids: [APNSID], onLine: (ArraySlice<UInt8>) throws -> Void) async throws {
        var body: [UInt8] = []
        for id in ids {
            JSONWriter.appendString("\(id)", to: &body)
            body.append(UInt8(ascii: "\n"))
        }
        var request = HTTPClientRequest(url: "\(url)/api/v1/messages/query")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-ndjson")
        request.headers.add(name: "Accept", value: "application/x-ndjson")
        request.body = .bytes(body)
        try await lines(of: try await client.execute(request, timeout: .seconds(60)), onLine)
    }

    /// The status of one push as the gateway's JSON; nil when it knows no such push.
    func status(_ id: APNSID) async throws -> [UInt8]? {
        let request = HTTPClientRequest(url: "\(url)/api/v1/messages/\(id)")
        let response = try await client.execute(request, timeout: .seconds(30))
        guard response.status != .notFound else { return nil }
        try await checkStatus(of: response)
        return Array(buffer: try await response.body.collect(upTo: Self.statusBytesMax))
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
        // Cancelling a million pushes takes its time.
        let response = try await client.execute(request, timeout: .seconds(300))
        try await checkStatus(of: response)
        return Array(buffer: try await response.body.collect(upTo: Self.controlBytesMax))
    }

    private func lines(of response: HTTPClientResponse, _ onLine: (ArraySlice<UInt8>) throws -> Void) async throws {
        try await checkStatus(of: response)
        var splitter = LineSplitter()
        for try await chunk in response.body { try splitter.append(chunk.readableBytesView, onLine) }
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

/// Why a command cannot go on, in one sentence.
struct GatewayFailure: Error, CustomStringConvertible {
    let description: String

    init(description: String) {
        self.description = description
    }

    init(_ error: any Error, url: String) {
        switch error {
        case let error as GatewayFailure: self = error
        case let error as HTTPClientError: self.init(description: Self.sentence(error, url: url))
        case let error as NIOConnectionError:
            let reason = error.connectionErrors.first.map { "\($0.error)" } ?? "no address answered"
            self.init(description: "the gateway at \(url) cannot be reached: \(reason)")
        case let error as IOError where [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].contains(error.errnoCode):
            let reason = String(cString: strerror(error.errnoCode)).lowercased()
            self.init(description: "the gateway at \(url) cannot be reached: \(reason)")
        case let error as IOError:
            self.init(description: "the connection to the gateway at \(url) broke: \(error)")
        case is CancellationError: self.init(description: "cancelled")
        default: self.init(description: "\(error)")
        }
    }

    private static func sentence(_ error: HTTPClientError, url: String) -> String {
        switch error {
        case .connectTimeout: "the gateway at \(url) cannot be reached: no answer within 10 s"
        case .deadlineExceeded, .readTimeout: "the gateway at \(url) did not answer in time"
        case .remoteConnectionClosed: "the gateway at \(url) closed the connection before it had answered"
        case .invalidURL, .emptyHost, .emptyScheme: "\(url) is not a URL"
        default: "the connection to the gateway at \(url) failed: \(error.shortDescription)"
        }
    }
}
