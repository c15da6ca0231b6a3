import Hummingbird
import NIOCore

/// The body of one request, read piece by piece, first by the handler and then by the task that writes the answer.
///
/// SAFETY: the iterator is used by one task at a time. The handler stops using it before it returns the response, and
/// of the tasks that the response's body starts only one reads.
final class RequestInput: @unchecked Sendable {
    private var iterator: RequestBody.AsyncIterator
    /// From the header; nil for a body of unknown length.
    let declaredBytes: Int?
    private(set) var receivedBytes = 0

    init(_ request: Request) {
        iterator = request.body.makeAsyncIterator()
        declaredBytes = request.headers[.contentLength].flatMap { Int($0) }
    }

    /// The next piece; nil at the end.
    ///
    /// - Throws: when the connection broke off.
    func next() async throws -> ByteBuffer? {
        let chunk = try await iterator.next()
        receivedBytes += chunk?.readableBytes ?? 0
        // A connection closed in the middle of a body of known length may look like an end.
        if chunk == nil, let declaredBytes, receivedBytes < declaredBytes { throw CutOff() }
        return chunk
    }

    struct CutOff: Error {}

    /// All of the declared body is here, so that the next piece is the end.
    var isComplete: Bool { declaredBytes == receivedBytes }

    /// The whole body, of at most `bytesMax`.
    func collect(bytesMax: Int) async throws -> ByteBuffer {
        let tooLarge = Problem(
            .contentTooLarge, .itemTooLarge, "the body is larger than \(bytesMax) bytes"
        )
        if let declaredBytes, declaredBytes > bytesMax { throw tooLarge }
        var whole: ByteBuffer?
        do {
            while let chunk = try await next() {
                guard receivedBytes <= bytesMax else { throw tooLarge }
                if whole == nil { whole = chunk } else { whole?.writeImmutableBuffer(chunk) }
            }
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.badRequest, .truncatedStream, "the connection broke off in the middle of the body")
        }
        return whole ?? ByteBuffer()
    }
}

/// The formats of a body, by its media type.
enum BodyFormat {
    case json
    case lines

    /// - Throws: 415 for a type that the route does not take. None at all passes for JSON.
    init(of request: Request, linesAllowed: Bool) throws(Problem) {
        guard let value = request.headers[.contentType] else {
            self = .json
            return
        }
        // What nearly every request says, without taking it apart.
        if value == "application/json" {
            self = .json
            return
        }
        let type = value.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
        switch type {
        case "application/json": self = .json
        case "application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain":
            guard linesAllowed else { fallthrough }
            self = .lines
        default:
            if type.hasPrefix("application/"), type.hasSuffix("+json") {
                self = .json
                return
            }
            let allowed = linesAllowed ? "application/json and application/x-ndjson" : "application/json"
            throw Problem(.unsupportedMediaType, nil, "this route takes \(allowed)")
        }
    }
}
