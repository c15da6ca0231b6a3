import APNSWire
import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushQueue

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
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, _ code: ErrorCode?, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

    /// One push that is refused.
    init(_ refusal: Refusal) {
        let isTooLarge = refusal.code == .itemTooLarge || refusal.code == .payloadTooLarge
        self.init(isTooLarge ? .contentTooLarge : .badRequest, refusal.code, refusal.text)
        field = refusal.fieldName
    }

    /// The store has not taken the pushes, or not said so.
    ///
    /// - Parameter pushID: of the push, when there is only one.
    init(_ error: QueueError, pushID: PushID?, retryAfter: Int) {
        self.init(busy: error.code, error.callerText, retryAfter: retryAfter)
        if error.isOutcomeUnknown { self.pushID = pushID }
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
