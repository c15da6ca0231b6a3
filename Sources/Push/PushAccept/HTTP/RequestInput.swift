import Hummingbird
import NIOCore
import PushModel

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
        while let chunk = try await nextOrProblem() {
            guard receivedBytes <= bytesMax else { throw tooLarge }
            if whole == nil { whole = chunk } else { whole?.writeImmutableBuffer(chunk) }
        }
        return whole ?? ByteBuffer()
    }

    /// The next piece of a body that is of use only when it is whole.
    func nextOrProblem() async throws(Problem) -> ByteBuffer? {
        do {
            return try await next()
        } catch {
            throw Problem(.badRequest, .truncatedStream, "the connection broke off in the middle of the body")
        }
    }
}

/// The formats of a body, by its media type.
enum BodyFormat {
    case json
    case lines

    private static let linesTypes: Set = [
        "application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain",
    ]

    /// Without parameters, in lower case.
    private static func mediaType(_ field: String) -> String {
        field.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
    }

    /// Whether a `Content-Type` says that there is one item a line.
    static func isLines(_ contentType: String?) -> Bool {
        contentType.map { linesTypes.contains(mediaType($0)) } ?? false
    }

    /// - Throws: 415 for a type that the route does not take, and for a body that is compressed. No type at all passes
    ///   for JSON.
    init(of request: Request, linesAllowed: Bool) throws(Problem) {
        if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
            var problem = Problem(
                .unsupportedMediaType, nil, "bodies are taken uncompressed only; send it without Content-Encoding"
            )
            // RFC 9110, 15.5.16: which codings would have been taken.
            problem.headers[.acceptEncoding] = "identity"
            throw problem
        }
        guard let value = request.headers[.contentType] else {
            self = .json
            return
        }
        // What nearly every request says, without taking it apart.
        if value == "application/json" {
            self = .json
            return
        }
        let type = Self.mediaType(value)
        switch type {
        case "application/json": self = .json
        case _ where linesAllowed && Self.linesTypes.contains(type): self = .lines
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
