package import APNSWire
import JSONText

/// Assembles lines from chunks. Memory is bounded by the longest line.
package struct LineSplitter {
    /// A gateway's lines have a few hundred bytes.
    package static let lineBytesMax = 1 << 20

    private var rest: [UInt8] = []

    package init() {}

    package mutating func append(_ chunk: some Collection<UInt8>, _ onLine: (ArraySlice<UInt8>) throws -> Void) throws {
        rest.append(contentsOf: chunk)
        var start = rest.startIndex
        while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
            if end > start { try onLine(rest[start..<end]) }
            start = end + 1
        }
        rest.removeFirst(start)
        guard rest.count <= Self.lineBytesMax else {
            throw GatewayFailure(description: "unexpected response: a line exceeds 1 MiB")
        }
    }

    /// Ends the body; its last line may lack a line end.
    package mutating func finish(_ onLine: (ArraySlice<UInt8>) throws -> Void) throws {
        if !rest.isEmpty { try onLine(rest[...]) }
        rest = []
    }
}

/// A warning of the lint about an accepted push.
package struct PushWarning: Equatable, Sendable {
    /// The name of the rule.
    package var rule: String
    /// What is wrong, and what to do.
    package var detail: String

    /// The warnings of a response.
    ///
    /// - Parameter json: the member `warnings`; anything else is no warning.
    static func list(_ json: String) -> [PushWarning] {
        var warnings: [PushWarning] = []
        Array(json.utf8).withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            guard (try? reader.enterArray()) != nil else { return }
            while (try? reader.nextElement(isFirst: warnings.isEmpty)) == true, let range = try? reader.skipValue() {
                var fields = FieldReader(UnsafeRawBufferPointer(rebasing: bytes[range]))
                var warning = PushWarning(rule: "", detail: "")
                while let (name, value) = try? fields.next() {
                    if name == "rule" { warning.rule = value }
                    if name == "detail" { warning.detail = value }
                }
                warnings.append(warning)
            }
        }
        return warnings
    }
}

/// The gateway's result for one push: a line of the response to a batch or a query.
package struct ResponseLine: Equatable {
    /// nil for a refused push.
    package var id: APNSID?
    /// `accepted`, `refused` or `unknown` (the store did not confirm the write), or the state of an accepted push.
    package var state = ""
    /// The error code; 0: no error.
    package var code = 0
    /// The reason from APNs, or the name of the error.
    package var reason = ""
    /// A description of a refusal.
    package var detail = ""
    /// Why an accepted push waits; empty if it is not delayed.
    package var delayed = ""
    /// Of a bulk request, each rule is reported with the first push that violates it.
    package var warnings: [PushWarning] = []

    /// For people: `delivered`, `rejected: 3003 BadDeviceToken`, `refused: 2022 missing_field, payload: required`.
    package var text: String {
        guard code != 0 else { return state }
        return "\(state): \(code) \(reason)" + (detail.isEmpty ? "" : ", \(detail)")
    }

    /// Whether the state is final, so that another query is not needed.
    package var isSettled: Bool {
        switch state {
        case "queued", "scheduled", "sending", "retrying": false
        // The store did not respond to this query.
        case "unavailable": false
        default: true
        }
    }

    /// Parses a line; unknown fields are ignored.
    ///
    /// - Throws: `GatewayFailure` if the line is not a JSON object.
    package init(_ line: ArraySlice<UInt8>) throws {
        do {
            var result = ResponseLine()
            try line.withUnsafeBytes { bytes in
                var fields = FieldReader(bytes)
                while let (name, value) = try fields.next() { result.set(name, value) }
            }
            self = result
        } catch is JSONError {
            throw GatewayFailure(description: "unexpected response: a line is not a JSON object")
        }
    }

    /// - Parameter state: all that is known.
    package init(state: String = "") { self.state = state }

    private mutating func set(_ name: String, _ value: String) {
        switch name {
        case "msg_id": id = APNSID(value)
        case "status", "state": state = value
        case "code": code = Int(value) ?? 0
        case "reason": reason = value
        // The reason from APNs is more specific than the name of the error code.
        case "error": if reason.isEmpty { reason = value }
        case "detail": detail = value
        case "delayed": delayed = value
        case "warnings": warnings = PushWarning.list(value)
        default: break
        }
    }
}

/// JSON from the gateway, unchanged.
enum JSONResponse {
    /// Without its final line end, which printing adds.
    static func trimmed(_ body: [UInt8]) -> String {
        let text = String(decoding: body, as: UTF8.self)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}

/// A problem document (RFC 9457).
package struct ProblemDocument {
    /// The detail, or the title without one; nil if there is neither.
    package private(set) var text: String?
    /// The error code of the gateway; nil without one.
    package private(set) var code: Int?
    /// Whether a gateway wrote the document: each of its problems has the ID of the request.
    package private(set) var isFromGateway = false
    /// Whether the path of the request is not one of a gateway, for example because the URL has a path.
    var isNoRoute: Bool { text?.hasPrefix("no such route") == true }

    package init(_ body: [UInt8]) {
        var found: [String: String] = [:]
        body.withUnsafeBytes { bytes in
            var fields = FieldReader(bytes)
            while let (name, value) = try? fields.next() { found[name] = value }
        }
        text = found["detail"] ?? found["title"]
        code = found["code"].flatMap { Int($0) }
        isFromGateway = found["request_id"] != nil
    }
}

/// Iterates over the fields of one JSON object: strings are unescaped, other values are unchanged.
struct FieldReader {
    private var reader: JSONReader
    private var isStarted = false

    init(_ bytes: UnsafeRawBufferPointer) {
        reader = JSONReader(bytes, at: ByteOrderMark.length(in: bytes))
    }

    mutating func next() throws(JSONError) -> (name: String, value: String)? {
        let isFirst = !isStarted
        if isFirst {
            isStarted = true
            try reader.enterObject()
        }
        guard let key = try reader.nextKey(isFirst: isFirst) else { return nil }
        let name = reader.text(key)
        guard try reader.peekKind() == .string else {
            let range = try reader.skipValue()
            return (name, String(decoding: UnsafeRawBufferPointer(rebasing: reader.bytes[range]), as: UTF8.self))
        }
        return (name, reader.text(try reader.readString()))
    }
}
