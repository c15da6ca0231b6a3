import JSONText

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The text of a JSON object, checked to be well-formed when it is created.
public struct JSONObject: Sendable, Hashable {
    /// UTF-8, from `{` to `}`.
    public let bytes: [UInt8]

    /// `{}`.
    public static let empty = JSONObject(unchecked: Array("{}".utf8))

    /// Checks JSON in UTF-8.
    ///
    /// - Throws: `notAnObject`, or `malformed` with the offset of the error.
    public init(_ json: some Sequence<UInt8>) throws(PayloadError) {
        let text = Array(json)
        bytes = Array(text[try PayloadText.objectRange(of: text)])
    }

    /// Checks JSON text.
    ///
    /// - Throws: `notAnObject`, or `malformed` with the offset of the error.
    public init(_ json: some StringProtocol) throws(PayloadError) {
        try self.init(json.utf8)
    }

    /// Encodes `value` with Foundation's `JSONEncoder`, with sorted keys and the default strategies, which are those
    /// that a device uses to decode a Live Activity's `ContentState`.
    ///
    /// - Throws: `notEncodable` if the encoder refuses the value, `notAnObject` if it does not encode to an object.
    public init(encoding value: some Encodable) throws(PayloadError) {
        try self.init(PayloadText.encode(value))
    }

    private init(unchecked bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// The members in the order of the text, including duplicate keys.
    var members: [PayloadMember] {
        bytes.withUnsafeBytes { bytes in
            var members: [PayloadMember] = []
            var reader = JSONReader(bytes)
            // The initialiser has checked the text, so no step here can fail.
            try? reader.enterObject()
            var isFirst = true
            while let key = try? reader.nextKey(isFirst: isFirst) {
                isFirst = false
                guard let value = try? reader.skipValue() else { break }
                members.append(PayloadMember(key: reader.text(key), json: Array(bytes[value])))
            }
            return members
        }
    }
}

extension JSONObject: CustomStringConvertible, CustomDebugStringConvertible {
    /// The size only. The content must not reach a log.
    public var description: String { "JSON object of \(bytes.count) bytes" }
    public var debugDescription: String { description }
}

/// One member of the root object.
struct PayloadMember: Sendable, Hashable {
    var key: String
    /// The value as JSON.
    var json: [UInt8]
}

/// Why a payload cannot be built or encoded.
public enum PayloadError: Error, Equatable, CustomStringConvertible {
    /// The text is not JSON: the error and its byte offset.
    case malformed(String)
    /// The text is JSON, but not an object.
    case notAnObject
    /// The encoder refused the value.
    case notEncodable
    /// A custom member is called `aps`.
    case reservedKey
    /// A number is an infinity or a NaN, which JSON cannot represent.
    case notFinite
    /// The payload is too large: its size and the limit, in bytes.
    case tooLarge(Int, max: Int)

    public var description: String {
        switch self {
        case .malformed(let reason): "not JSON: \(reason)"
        case .notAnObject: "not a JSON object"
        case .notEncodable: "the value cannot be encoded as JSON"
        case .reservedKey: "`aps` is reserved: set it with `APNSPayload.aps`"
        case .notFinite: "payload has an infinite number or a NaN, which JSON cannot represent"
        case .tooLarge(let count, let max): "payload has \(count) bytes, \(max) are allowed"
        }
    }
}

/// Checks and encodes JSON text.
enum PayloadText {
    /// The range of the object in `text`, without surrounding white space.
    static func objectRange(of text: [UInt8]) throws(PayloadError) -> Range<Int> {
        let result = text.withUnsafeBytes { bytes -> Result<Range<Int>, PayloadError> in
            var reader = JSONReader(bytes)
            do throws(JSONError) {
                let kind = try reader.peekKind()
                let range = try reader.skipValue()
                try reader.finish()
                return kind == .object ? .success(range) : .failure(.notAnObject)
            } catch { return .failure(.malformed("\(error)")) }
        }
        return try result.get()
    }

    static func string(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        JSONWriter.appendString(text, to: &bytes)
        return bytes
    }

    static func encode(_ value: some Encodable) throws(PayloadError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do { return Array(try encoder.encode(value)) } catch { throw .notEncodable }
    }
}
