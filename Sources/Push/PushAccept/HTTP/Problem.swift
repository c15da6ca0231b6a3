import APNSWire
import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushStore

/// The refusal of a whole request: an RFC 9457 problem document.
///
/// `type` is a relative reference to the entry of the code in `GET /api/v1/codes`. `detail` states the fault first, and
/// then what to do.
struct Problem: Error {
    var status: HTTPResponse.Status
    var code: ErrorCode?
    var detail: String
    var field: String?
    /// The rule of the lint that the push violates.
    var rule: LintCode?
    /// The push that may have been accepted nevertheless.
    var pushID: PushID?
    /// Refused pushes for the metrics, on a route that accepts pushes: those that were read, at least 1. 0: they may
    /// have been accepted.
    var refusedPushes = 1
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, _ code: ErrorCode?, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

    /// The refusal of a single push.
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
        rule = refusal.rule
        if let retryAfter = refusal.retryAfterSeconds { headers[.retryAfter] = String(retryAfter) }
    }

    /// A write of pushes that failed, or was not confirmed.
    ///
    /// - Parameter pushID: of a single push.
    init(_ error: QueueError, pushID: PushID?, retryAfter: Int) {
        self.init(busy: error.code, error.callerText, retryAfter: retryAfter)
        guard error.isOutcomeUnknown else { return }
        self.pushID = pushID
        refusedPushes = 0
    }

    /// The same for a request with an `Idempotency-Key`, which can be repeated safely.
    init(idempotent error: QueueError, pushID: PushID?, retryAfter: Int) {
        guard error != .idempotencyKeyUsed else {
            self.init(idempotencyRunning: retryAfter)
            return
        }
        self.init(error, pushID: pushID, retryAfter: retryAfter)
        if error.isOutcomeUnknown {
            detail =
                "the store did not confirm the write; send the request again with the same Idempotency-Key"
        }
    }

    /// A control request that failed in the store.
    init(control error: QueueError, retryAfter: Int) {
        let text =
            switch error {
            case .unavailable(_, isOutcomeKnown: true), .idempotencyKeyUsed:
                "the store does not respond; nothing was changed, send the request again later"
            case .unavailable(_, isOutcomeKnown: false): "the store did not confirm the change; send the request again"
            case .full: "the store is full; nothing was changed, send the request again later"
            case .broken:
                "the store of this instance is damaged; nothing was changed, send the request to another instance"
            case .closed: "this instance is stopping; nothing was changed, send the request to another instance"
            }
        self.init(busy: error.code, text, retryAfter: retryAfter)
    }

    /// The same problem for a request with this number of pushes.
    func refusing(_ pushes: Int) -> Problem {
        var problem = self
        problem.refusedPushes = min(refusedPushes, 1) * pushes
        return problem
    }

    init(stopping retryAfter: Int) {
        self.init(
            busy: .shuttingDown,
            "this instance is stopping; nothing was accepted, send the request to another instance",
            retryAfter: retryAfter)
    }

    init(_ refusal: AdmissionRefusal) {
        self.init(
            busy: .overloaded, "\(refusal.text); nothing was accepted, send it again in \(refusal.retryAfterSeconds) s",
            retryAfter: refusal.retryAfterSeconds
        )
    }

    /// A rate limit of the caller.
    init(tooMany detail: String, retryAfter: Int) {
        self.init(.tooManyRequests, .rateLimited, detail)
        headers[.retryAfter] = String(retryAfter)
    }

    /// An invalid field of the body or part of the URL.
    init(_ code: ErrorCode, field: String, _ text: String) {
        self.init(.badRequest, code, "\(field): \(text)")
        self.field = field
    }

    /// A temporary refusal.
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
        if let rule {
            JSONWriter.append(#","rule":"#, to: &json)
            JSONWriter.appendString(rule.rawValue, to: &json)
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
