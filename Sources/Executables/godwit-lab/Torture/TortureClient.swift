import AsyncHTTPClient
import Foundation
import GodwitCLI
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1

/// The client of a run: sends requests and says what came back, however little.
struct TortureClient: Sendable {
    /// What came back of a request.
    struct Reply: Sendable {
        /// 0: the connection failed before there was one.
        var status: Int
        /// By index in the request; shorter than it where the answer broke off.
        var items: [CompletedRequest.Item]
        /// Nothing more is to be learnt by sending the request again.
        var isComplete: Bool
        /// What the gateway asks for, when it refuses for now.
        var retryAfter: Duration?
    }

    private static let answerBytesMax = 64 * 1024
    let url: String
    let http: HTTPClient

    static func make(url: String) -> TortureClient {
        var configuration = HTTPClient.Configuration(timeout: .init(connect: .seconds(5)))
        configuration.connectionPool.retryConnectionEstablishment = false
        return TortureClient(
            url: url, http: HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration))
    }

    /// Sends an order once.
    func send(_ order: TortureLoad.Order, body: String, key: String) async -> Reply {
        var request = HTTPClientRequest(url: order.isBulk ? "\(url)/push/batch" : "\(url)/push")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: order.isBulk ? "application/x-ndjson" : "application/json")
        request.headers.add(name: "Idempotency-Key", value: key)
        request.body = .bytes(ByteBuffer(string: body))
        guard let response = try? await http.execute(request, timeout: .seconds(30)) else {
            return Reply(status: 0, items: [], isComplete: false)
        }
        let status = Int(response.status.code)
        guard status == 200 else { return await refusal(status, response, order.sent.count) }
        var lines: [ResponseLine] = []
        let isWhole = await read(response) { lines.append($0) }
        let items = lines.prefix(order.sent.count).compactMap { Self.item($0) }
        return Reply(status: status, items: items, isComplete: isWhole && items.count == order.sent.count)
    }

    /// A line that is no answer to an item ends them: what follows was not read by the gateway.
    private static func item(_ line: ResponseLine) -> CompletedRequest.Item? {
        guard let word = CompletedRequest.Word(rawValue: line.state) else { return nil }
        return CompletedRequest.Item(id: line.id.map { "\($0)" }, word: word)
    }

    private func refusal(_ status: Int, _ response: HTTPClientResponse, _ count: Int) async -> Reply {
        let seconds = response.headers.first(name: "Retry-After").flatMap { Int($0) } ?? 0
        var inDoubt: ResponseLine?
        let isWhole = await read(response) { inDoubt = $0 }
        let id = inDoubt?.id.map { "\($0)" }
        let item = CompletedRequest.Item(id: id, word: id == nil ? .refused : .unknown)
        // 409: an earlier try of the same request is still being worked on. 503 and 429: not now.
        let isForNow = status == 409 || status == 429 || status == 503
        return Reply(
            status: status, items: status == 409 || !isWhole ? [] : Array(repeating: item, count: count),
            isComplete: !isForNow && isWhole, retryAfter: .seconds(min(seconds, 2))
        )
    }

    /// - Returns: whether the body came to its end.
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

    /// What the gateway says of these pushes; nil when it did not answer, or not about all of them.
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

    /// Asks for the cancellation of at most 1,000 pushes.
    ///
    /// - Returns: the ids of which the gateway has confirmed it.
    func cancel(_ ids: [String]) async -> [String] {
        var request = HTTPClientRequest(url: "\(url)/api/v1/messages/cancel")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        let list = ids.map { "\"\($0)\"" }.joined(separator: ",")
        request.body = .bytes(ByteBuffer(string: "{\"ids\":[\(list)]}"))
        guard let response = try? await http.execute(request, timeout: .seconds(30)), response.status == .ok,
            let body = try? await response.body.collect(upTo: 1 << 20),
            let answer = try? JSONDecoder().decode(CancelResponse.self, from: Data(buffer: body))
        else { return [] }
        return answer.results.filter { $0.result == "cancelled" }.map(\.id)
    }

    private struct CancelResponse: Decodable {
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

    /// Whether the gateway takes pushes.
    func isReady() async -> Bool {
        let response = try? await http.execute(HTTPClientRequest(url: "\(url)/readyz"), timeout: .seconds(2))
        return response?.status == .ok
    }
}
