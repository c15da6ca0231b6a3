import APNSWire
import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushStore

/// A request that is refused as a whole: an RFC 9457 problem document.
///
/// `type` is a reference relative to the request's URL, so it leads to the row of the code in the route of all codes.
struct Problem: Error {
    var status: HTTPResponse.Status
    var code: ErrorCode?
    var detail: String
    var field: String?
    /// When the push may be there all the same.
    var pushID: PushID?
    /// What it counts for on a route that takes pushes: those that were read, or one; 0 when they may be there.
    var refusedPushes = 1
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, _ code: ErrorCode?, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

    /// One push that is refused.
    init(_ refusal: Refusal) {
        let status: HTTPResponse.Status =
            switch refusal.code {
            case .itemTooLarge, .payloadTooLarge: .contentTooLarge
            case .rateLimited: .tooManyRequests
            case .overloaded: .serviceUnavailable
            default: .badRequest
            }
        self.init(status, refusal.code, refusal.text)
        field = refusal.fieldName
        if let retryAfter = refusal.retryAfterSeconds { headers[.retryAfter] = String(retryAfter) }
    }

    /// The store has not taken the pushes, or not said so.
    ///
    /// - Parameter pushID: of the push, when there is only one.
    init(_ error: QueueError, pushID: PushID?, retryAfter: Int) {
        self.init(busy: error.code, error.callerText, retryAfter: retryAfter)
        guard error.isOutcomeUnknown else { return }
        self.pushID = pushID
        refusedPushes = 0
    }

    /// The same for a request with an `Idempotency-Key`: sending it again tells what became of it.
    init(keyed error: QueueError, pushID: PushID?, retryAfter: Int) {
        self.init(error, pushID: pushID, retryAfter: retryAfter)
        if error.isOutcomeUnknown {
            detail =
                "the store did not confirm the write; send the request again with the same Idempotency-Key to find out"
        }
    }

    /// The store cannot do, or tell, what a control request asks for.
    init(control error: QueueError, retryAfter: Int) {
        let text =
            switch error {
            case .unavailable(_, isOutcomeKnown: true): "the store does not answer; nothing was changed"
            case .unavailable(_, isOutcomeKnown: false): "the store did not confirm the change; send the request again"
            case .full: "the store has no room; nothing was changed"
            case .broken: "the store of this instance is damaged; nothing was changed"
            case .closed: "this instance is stopping; nothing was changed"
            }
        self.init(busy: error.code, text, retryAfter: retryAfter)
    }

    /// The same for a request of `pushes`, if they are refused.
    func refusing(_ pushes: Int) -> Problem {
        var problem = self
        problem.refusedPushes = min(refusedPushes, 1) * pushes
        return problem
    }

    init(stopping retryAfter: Int) {
        self.init(busy: .shuttingDown, "this instance is stopping; nothing was accepted", retryAfter: retryAfter)
    }

    init(_ refusal: AdmissionRefusal) {
        self.init(
            busy: .overloaded, "\(refusal.text); nothing was accepted", retryAfter: refusal.retryAfterSeconds
        )
    }

    /// This caller, not all of them.
    init(tooMany detail: String, retryAfter: Int) {
        self.init(.tooManyRequests, .rateLimited, detail)
        headers[.retryAfter] = String(retryAfter)
    }

    /// A field of the body, or a part of the URL, is not what it must be.
    init(_ code: ErrorCode, field: String, _ text: String) {
        self.init(.badRequest, code, "\(field): \(text)")
        self.field = field
    }

    /// Not now, but later.
    init(busy code: ErrorCode, _ detail: String, retryAfter: Int) {
        self.init(.serviceUnavailable, code, detail)
        headers[.retryAfter] = String(retryAfter)
    }

    static let contentType = "application/problem+json"

    func response(requestID: String) -> Response {
        var headers = self.headers
        headers[.contentType] = Self.contentType
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: json(requestID))))
    }

    func json(_ requestID: String) -> [UInt8] {
        var json: [UInt8] = []
        json.reserveCapacity(256)
        JSONWriter.append(#"{"type":"#, to: &json)
        JSONWriter.appendString(code.map { "/api/v1/codes#\($0.entry.name)" } ?? "about:blank", to: &json)
        JSONWriter.append(#","title":"#, to: &json)
        JSONWriter.appendString(code?.entry.meaning ?? status.reasonPhrase, to: &json)
        JSONWriter.append(#","status":"#, to: &json)
        JSONWriter.appendInteger(status.code, to: &json)
        JSONWriter.append(#","detail":"#, to: &json)
        JSONWriter.appendString(detail, to: &json)
        if let code {
            JSONWriter.append(#","code":"#, to: &json)
            JSONWriter.appendInteger(code.rawValue, to: &json)
            JSONWriter.append(#","error":"#, to: &json)
            JSONWriter.appendString(code.entry.name, to: &json)
        }
        if let field {
            JSONWriter.append(#","field":"#, to: &json)
            JSONWriter.appendString(field, to: &json)
        }
        if let pushID {
            JSONWriter.append(#","msg_id":"#, to: &json)
            JSONWriter.appendString(pushID.description, to: &json)
        }
        JSONWriter.append(#","request_id":"#, to: &json)
        JSONWriter.appendString(requestID, to: &json)
        JSONWriter.append("}\n", to: &json)
        return json
    }
}
