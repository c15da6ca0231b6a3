import HTTPTypes
import Hummingbird
import NIOCore
import PushModel

/// The body of one request, read in chunks: first by the handler, then by a task of the response body.
///
/// SAFETY: the iterator is used by one task at a time. The handler stops using it before it returns the response, and
/// only one of the tasks that the response body starts reads it.
final class RequestInput: @unchecked Sendable {
    private var iterator: RequestBody.AsyncIterator
    /// `Content-Length`; nil for a body of unknown length.
    let declaredBytes: Int?
    private(set) var receivedBytes = 0

    init(_ request: Request) {
        iterator = request.body.makeAsyncIterator()
        declaredBytes = request.headers[.contentLength].flatMap { Int($0) }
    }

    /// The next chunk; nil at the end.
    ///
    /// - Throws: if the connection closed before the body was complete.
    func next() async throws -> ByteBuffer? {
        let chunk = try await iterator.next()
        receivedBytes += chunk?.readableBytes ?? 0
        // A connection that closes within a body of known length can look like the end of the body.
        if chunk == nil, let declaredBytes, receivedBytes < declaredBytes { throw CutOff() }
        return chunk
    }

    struct CutOff: Error {}

    /// Whether the declared body is complete, so that the next read returns nil.
    var isComplete: Bool { declaredBytes == receivedBytes }

    /// Reads the whole body.
    ///
    /// - Throws: 413 if it has more than `bytesMax` bytes, 400 if it is incomplete.
    func collect(bytesMax: Int) async throws -> ByteBuffer {
        let tooLarge = Problem.bodyTooLarge(max: bytesMax)
        if let declaredBytes, declaredBytes > bytesMax { throw tooLarge }
        var whole: ByteBuffer?
        while let chunk = try await nextOrProblem() {
            guard receivedBytes <= bytesMax else { throw tooLarge }
            if whole == nil { whole = chunk } else { whole?.writeImmutableBuffer(chunk) }
        }
        return whole ?? ByteBuffer()
    }

    /// The next chunk of a body that is useless unless it is complete.
    ///
    /// - Throws: 400 if the connection closed before the body was complete.
    func nextOrProblem() async throws(Problem) -> ByteBuffer? {
        do {
            return try await next()
        } catch {
            throw .cutOff
        }
    }
}

/// The format of a body, by its media type.
enum BodyFormat {
    case json
    case lines

    private static let linesTypes: Set = [
        "application/x-ndjson", "application/ndjson", "application/jsonl",
    ]

    /// The media type without parameters, in lower case.
    private static func mediaType(_ field: String) -> String {
        field.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
    }

    /// Whether a `Content-Type` means one item per line.
    static func isLines(_ contentType: String?) -> Bool {
        contentType.map { linesTypes.contains(mediaType($0)) } ?? false
    }

    /// A request without `Content-Type` is treated as JSON.
    ///
    /// - Throws: 415 for a type that the route does not accept, and for a compressed body.
    init(of fields: HTTPFields, linesAllowed: Bool) throws(Problem) {
        if let encoding = fields[.contentEncoding], encoding.lowercased() != "identity" {
            var problem = Problem(
                .unsupportedMediaType, nil, "the body must be uncompressed; send it without Content-Encoding"
            )
            // RFC 9110, 15.5.16: the codings that would be accepted.
            problem.headers[.acceptEncoding] = "identity"
            throw problem
        }
        guard let value = fields[.contentType] else {
            self = .json
            return
        }
        // The usual value, without parsing.
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
            let allowed = linesAllowed ? "application/json or application/x-ndjson" : "application/json"
            throw Problem(.unsupportedMediaType, nil, "this route accepts Content-Type \(allowed)")
        }
    }
}
