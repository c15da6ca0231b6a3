import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import PushModel

/// Converts between the parts of HTTP/1 messages and those of any version of HTTP, and refuses requests that violate
/// RFC 9112 in a way that NIO's decoder accepts.
///
/// A violation is an error in the pipeline, of type `MalformedRequest`; what follows on the connection is dropped.
final class HTTP1Codec: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private let framing: BodyFraming
    private var isRefused = false

    init(framing: BodyFraming) {
        self.framing = framing
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isRefused { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            do {
                let request = try Self.request(head)
                framing.bodyBegins()
                context.fireChannelRead(wrapInboundOut(.head(request)))
            } catch {
                isRefused = true
                context.fireErrorCaught(MalformedRequest(problem: error, isHead: head.method == .HEAD))
            }
        case .body(let body):
            framing.received(body.readableBytes)
            context.fireChannelRead(wrapInboundOut(.body(body)))
        case .end(let trailers):
            framing.bodyEnds()
            context.fireChannelRead(wrapInboundOut(.end(trailers.map(Self.fields))))
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part: HTTPServerResponsePart =
            switch unwrapOutboundIn(data) {
            case .head(let response): .head(Self.head(response))
            case .body(let body): .body(.byteBuffer(body))
            case .end(let trailers): .end(trailers.map(Self.headers))
            }
        context.write(wrapOutboundOut(part), promise: promise)
    }

    // MARK: Requests

    private static func request(_ head: HTTPRequestHead) throws(Problem) -> HTTPRequest {
        let isHTTP10 = head.version.major == 1 && head.version.minor == 0
        try checkTransferEncoding(head.headers, isHTTP10: isHTTP10)
        var host: String?
        var fields = HTTPFields()
        fields.reserveCapacity(head.headers.count)
        for (name, value) in head.headers {
            guard let name = HTTPField.Name(name) else { continue }
            guard name.canonicalName == "host" else {
                fields.append(HTTPField(name: name, value: value))
                continue
            }
            guard host == nil else { throw violation("the request has more than one Host") }
            guard isAuthority(value) else { throw violation("the Host is not a name or address with an optional port") }
            host = value
        }
        // RFC 9112, 3.2: also in a request for an absolute URI.
        guard host != nil || isHTTP10 else { throw violation("the request has no Host") }
        // One form for all readers of the field.
        if !head.isKeepAlive { fields[.connection] = "close" }
        if isHTTP10 {
            // RFC 9110, 10.1.1: HTTP/1.0 has no 100 response.
            fields[.expect] = nil
        }
        guard let method = HTTPRequest.Method(head.method.rawValue) else {
            throw violation("the method is not a token")
        }
        let target = target(head.uri)
        return HTTPRequest(
            method: method, scheme: "http", authority: target.authority ?? host, path: target.path, headerFields: fields
        )
    }

    private static func violation(_ detail: String) -> Problem { Problem(.badRequest, .protocolViolation, detail) }

    /// RFC 9112, 6.1.
    private static func checkTransferEncoding(_ headers: HTTPHeaders, isHTTP10: Bool) throws(Problem) {
        // As they were sent: the canonical form has no empty values, which are not chunked either.
        let codings = headers["transfer-encoding"]
        guard !codings.isEmpty else { return }
        guard !isHTTP10 else { throw violation("HTTP/1.0 has no Transfer-Encoding") }
        guard codings.count == 1, codings[0].lowercased() == "chunked" else {
            throw Problem(.notImplemented, nil, "the only Transfer-Encoding is chunked; send the body uncompressed")
        }
        guard !headers.contains(name: "content-length") else {
            throw violation("the request has both Transfer-Encoding and Content-Length")
        }
    }

    /// Whether a value of `Host` has only characters of a name or address and a port. An empty one is valid.
    private static func isAuthority(_ value: String) -> Bool {
        value.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: ".-_~%!$&'()*+;=:[]".utf8.contains(byte)
            }
        }
    }

    /// The parts of a request target. An absolute URI, which clients send to a proxy, has an authority.
    private static func target(_ uri: String) -> (authority: String?, path: String) {
        guard uri.utf8.first != UInt8(ascii: "/"), let scheme = ["http://", "https://"].first(where: uri.hasPrefix)
        else { return (nil, uri) }
        let rest = uri.dropFirst(scheme.count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let path = rest[authority.endIndex...]
        return (String(authority), path.first == "/" ? String(path) : "/" + path)
    }

    private static func fields(_ headers: HTTPHeaders) -> HTTPFields {
        var fields = HTTPFields()
        for (name, value) in headers {
            if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) }
        }
        return fields
    }

    // MARK: Responses

    private static func head(_ response: HTTPResponse) -> HTTPResponseHead {
        HTTPResponseHead(
            version: .http1_1,
            status: HTTPResponseStatus(statusCode: response.status.code, reasonPhrase: response.status.reasonPhrase),
            headers: headers(response.headerFields)
        )
    }

    private static func headers(_ fields: HTTPFields) -> HTTPHeaders {
        HTTPHeaders(fields.map { ($0.name.rawName, $0.value) })
    }
}
