package import APNSWire
import Foundation
import JSONText

/// Bodies and paths of control requests.
package enum ControlRequest {
    /// `{"ids":[…]}`
    package static func body(ids: some Sequence<APNSID>) -> [UInt8] {
        var json: [UInt8] = Array("{\"ids\":[".utf8)
        for (index, id) in ids.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            JSONWriter.appendString("\(id)", to: &json)
        }
        json += "]}".utf8
        return json
    }

    /// One `{"ids":[…]}` for each `GatewayAPI.idsPerRequestMax` IDs.
    static func bodies(ids: [APNSID]) -> [[UInt8]] {
        stride(from: 0, to: ids.count, by: GatewayAPI.idsPerRequestMax).map { start in
            body(ids: ids[start..<min(start + GatewayAPI.idsPerRequestMax, ids.count)])
        }
    }

    /// `{"field":"value"}`
    package static func body(_ field: String, _ value: String) -> [UInt8] {
        var json: [UInt8] = [UInt8(ascii: "{")]
        JSONWriter.appendString(field, to: &json)
        json.append(UInt8(ascii: ":"))
        JSONWriter.appendString(value, to: &json)
        json.append(UInt8(ascii: "}"))
        return json
    }

    package static let all = Array("{\"all\":true}".utf8)

    /// Percent-encodes `text` as one path component or one query value.
    package static func escaped(_ text: String) -> String {
        var allowed = CharacterSet.alphanumerics.intersection(CharacterSet(charactersIn: "\0"..."\u{7F}"))
        allowed.insert(charactersIn: "-._~")
        return text.addingPercentEncoding(withAllowedCharacters: allowed) ?? text
    }
}

/// The body of a search. Fields that are nil are left out.
struct MessageSearchBody: Encodable {
    var token: String?
    var app: String?
    var state: [String]
    var code: [String]
    /// RFC 3339.
    var since: String
    var requestId: String?
    var after: String?
    var limit: Int?

    func json() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return [UInt8](try encoder.encode(self))
    }
}
