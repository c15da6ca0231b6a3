package import APNSWire
import JSONText

/// Puts lines together from chunks, in memory bounded by the longest line.
package struct LineSplitter {
    /// A line of ours has a few hundred bytes; whoever sends longer ones is not a gateway.
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
            throw GatewayFailure(description: "the answer is not the gateway's: a line has more than 1 MiB")
        }
    }

    /// The body ended; a last line may stand without its end.
    package mutating func finish(_ onLine: (ArraySlice<UInt8>) throws -> Void) throws {
        if !rest.isEmpty { try onLine(rest[...]) }
        rest = []
    }
}

/// What the gateway says about one push: a line of the answer to a batch or to a query.
package struct ResponseLine: Equatable {
    /// Nil for a push that was refused.
    package var id: APNSID?
    /// `accepted`, `refused` or `unknown` (the store did not confirm), or the state of an accepted push.
    package var state = ""
    /// 0: nothing is wrong.
    package var code = 0
    /// APNs' reason, or the name of the error.
    package var reason = ""
    /// A sentence for a human, with refusals.
    package var detail = ""
    /// Why an accepted push waits; empty when nothing holds it up.
    package var delayed = ""

    /// The verdict is final: asking again tells nothing new.
    package var isSettled: Bool {
        switch state {
        case "queued", "scheduled", "sending", "retrying": false
        // The store could not tell at that moment.
        case "unavailable": false
        default: true
        }
    }

    /// Reads a line; fields that are not known here are passed over.
    package init(_ line: ArraySlice<UInt8>) throws {
        do {
            var answer = ResponseLine()
            try line.withUnsafeBytes { bytes in
                var fields = FieldReader(bytes)
                while let (name, value) = try fields.next() { answer.take(name, value) }
            }
            self = answer
        } catch is JSONError {
            throw GatewayFailure(description: "the answer is not the gateway's: a line is not a JSON object")
        }
    }

    private init() {}

    private mutating func take(_ name: String, _ value: String) {
        switch name {
        case "msg_id": id = APNSID(value)
        case "status", "state": state = value
        case "code": code = Int(value) ?? 0
        case "reason": reason = value
        // Where APNs gave a reason, that says more than the name of our code.
        case "error": if reason.isEmpty { reason = value }
        case "detail": detail = value
        case "delayed": delayed = value
        default: break
        }
    }
}

/// JSON as the gateway sent it.
enum JSONResponse {
    /// Without the line end that printing adds.
    static func trimmed(_ body: [UInt8]) -> String {
        let text = String(decoding: body, as: UTF8.self)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}

/// An error document (RFC 9457).
package struct Problem {
    /// What it says, detail first; nil when it says nothing.
    package private(set) var text: String?

    package init(_ body: [UInt8]) {
        var found: [String: String] = [:]
        body.withUnsafeBytes { bytes in
            var fields = FieldReader(bytes)
            while let (name, value) = try? fields.next() { found[name] = value }
        }
        text = found["detail"] ?? found["title"]
    }
}

/// Goes through the fields of one JSON object: strings unescaped, other values as they are written.
struct FieldReader {
    private var reader: JSONReader
    private var isStarted = false

    init(_ bytes: UnsafeRawBufferPointer) {
        reader = JSONReader(bytes)
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
