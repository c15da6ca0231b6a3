import AsyncHTTPClient
import Foundation
import GodwitCLI
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1

/// The HTTP client of a run. Returns as much of each response as arrived.
struct TortureClient: Sendable {
    /// The response to a request, as far as it arrived.
    struct Response: Sendable {
        /// 0: the connection failed before the response.
        var status: Int
        /// By index in the request; shorter than the request if the response was truncated.
        var items: [CompletedRequest.Item]
        /// Whether the response is final, so that the request need not be repeated.
        var isComplete: Bool
        /// The `Retry-After` of a temporary refusal.
        var retryAfter: Duration?
    }

    let url: String
    let http: HTTPClient

    static func make(url: String) -> TortureClient {
        var configuration = HTTPClient.Configuration(timeout: .init(connect: .seconds(5)))
        configuration.connectionPool.retryConnectionEstablishment = false
        return TortureClient(
            url: url, http: HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration))
    }

    /// Sends a request once.
    func send(_ planned: TortureLoad.PlannedRequest, body: String, key: String) async -> Response {
        var request = HTTPClientRequest(url: planned.isBulk ? "\(url)/push/batch" : "\(url)/push")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: planned.isBulk ? "application/x-ndjson" : "application/json")
        request.headers.add(name: "Idempotency-Key", value: key)
        request.body = .bytes(ByteBuffer(string: body))
        guard let response = try? await http.execute(request, timeout: .seconds(30)) else {
            return Response(status: 0, items: [], isComplete: false)
        }
        let status = Int(response.status.code)
        guard status == 200 else { return await refusal(status, response, planned.sent.count) }
        var lines: [ResponseLine] = []
        let isWhole = await read(response) { lines.append($0) }
        let items = lines.prefix(planned.sent.count).compactMap { Self.item($0) }
        return Response(status: status, items: items, isComplete: isWhole && items.count == planned.sent.count)
    }

    /// nil for a line that is not the result of a push. The gateway did not read the pushes after it.
    private static func item(_ line: ResponseLine) -> CompletedRequest.Item? {
        guard let result = CompletedRequest.Result(rawValue: line.state) else { return nil }
        return CompletedRequest.Item(id: line.id.map { "\($0)" }, result: result)
    }

    private func refusal(_ status: Int, _ response: HTTPClientResponse, _ count: Int) async -> Response {
        let seconds = response.headers.first(name: "Retry-After").flatMap { Int($0) } ?? 0
        var line: ResponseLine?
        let isWhole = await read(response) { line = $0 }
        let id = line?.id.map { "\($0)" }
        let item = CompletedRequest.Item(id: id, result: id == nil ? .refused : .unknown)
        // 409: an earlier attempt of the same request is still in progress. 503 and 429: refused for now.
        let isTemporary = status == 409 || status == 429 || status == 503
        return Response(
            status: status, items: status == 409 || !isWhole ? [] : Array(repeating: item, count: count),
            isComplete: !isTemporary && isWhole, retryAfter: .seconds(min(seconds, 2))
        )
    }

    /// - Returns: whether the whole body arrived.
    private func read(_ response: HTTPClientResponse, _ onLine: (ResponseLine) throws -> Void) async -> Bool {
        var splitter = LineSplitter()
        do {
            for try await chunk in response.body {
                try splitter.append(chunk.readableBytesView) { try onLine(ResponseLine($0)) }
            }
            try splitter.finish { try onLine(ResponseLine($0)) }
            return true
        } catch {
            return false
        }
    }

    /// The states of these pushes; nil without a complete response.
    func states(of ids: [String]) async -> [(id: String, state: String, code: Int)]? {
        var request = HTTPClientRequest(url: "\(url)/api/v1/messages/query")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-ndjson")
        request.body = .bytes(ByteBuffer(string: ids.map { "\"\($0)\"\n" }.joined()))
        guard let response = try? await http.execute(request, timeout: .seconds(30)), response.status == .ok else {
            return nil
        }
        var lines: [ResponseLine] = []
        guard await read(response, { lines.append($0) }), lines.count == ids.count else { return nil }
        return zip(ids, lines).map { ($0, $1.state, $1.code) }
    }

    /// Requests the cancellation of at most 1,000 pushes.
    ///
    /// - Returns: the IDs whose cancellation the gateway confirmed.
    func cancel(_ ids: [String]) async -> [String] {
        var request = HTTPClientRequest(url: "\(url)/api/v1/messages/cancel")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        let list = ids.map { "\"\($0)\"" }.joined(separator: ",")
        request.body = .bytes(ByteBuffer(string: "{\"ids\":[\(list)]}"))
        guard let response = try? await http.execute(request, timeout: .seconds(30)), response.status == .ok,
            let body = try? await response.body.collect(upTo: 1 << 20),
            let decoded = try? JSONDecoder().decode(CancelResult.self, from: Data(buffer: body))
        else { return [] }
        return decoded.results.filter { $0.result == "cancelled" }.map(\.id)
    }

    private struct CancelResult: Decodable {
        struct Result: Decodable {
            var id: String
            var result: String

            private enum CodingKeys: String, CodingKey {
                case id = "msg_id"
                case result
            }
        }

        var results: [Result]
    }

    /// Whether the gateway accepts pushes.
    func isReady() async -> Bool {
        let response = try? await http.execute(HTTPClientRequest(url: "\(url)/readyz"), timeout: .seconds(2))
        return response?.status == .ok
    }
}
