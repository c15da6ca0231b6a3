import JSONText

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A JSON object as text: well-formed, and an object, by construction.
public struct JSONObject: Sendable, Hashable {
    /// UTF-8, from `{` to `}`.
    public let bytes: [UInt8]

    /// `{}`.
    public static let empty = JSONObject(unchecked: Array("{}".utf8))

    /// - Throws: `notAnObject`, or `malformed` with where the text stops being JSON.
    public init(_ json: some Sequence<UInt8>) throws(PayloadError) {
        let text = Array(json)
        bytes = Array(text[try PayloadText.objectRange(of: text)])
    }

    /// - Throws: as `init(_:)` for bytes does.
    public init(_ json: some StringProtocol) throws(PayloadError) {
        try self.init(json.utf8)
    }

    /// What Foundation's `JSONEncoder` makes of `value`, with sorted keys and its default strategies: those a Live
    /// Activity's `ContentState` is decoded with on the device.
    ///
    /// - Throws: `notEncodable` when the encoder refuses it, `notAnObject` when it becomes anything but an object.
    public init(encoding value: some Encodable) throws(PayloadError) {
        try self.init(PayloadText.encode(value))
    }

    private init(unchecked bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// The members in the order of the text; a key that stands twice comes twice.
    var members: [PayloadMember] {
        bytes.withUnsafeBytes { bytes in
            var members: [PayloadMember] = []
            var reader = JSONReader(bytes)
            // The text was read once already when this value was made, so no step here can fail.
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
    /// Nothing of the content, which belongs in no log.
    public var description: String { "JSON object of \(bytes.count) bytes" }
    public var debugDescription: String { description }
}

/// One member of the root object.
struct PayloadMember: Sendable, Hashable {
    var key: String
    /// The value as JSON.
    var json: [UInt8]
}

/// Why a payload cannot be written.
public enum PayloadError: Error, Equatable, CustomStringConvertible {
    /// Not JSON: what is wrong, and at which byte.
    case malformed(String)
    /// JSON, but not an object.
    case notAnObject
    /// The encoder refused a value.
    case notEncodable
    /// Custom members may not be called `aps`.
    case reservedKey
    /// JSON has neither infinities nor "not a number".
    case notFinite
    /// Bytes there are and bytes allowed.
    case tooLarge(Int, max: Int)

    public var description: String {
        switch self {
        case .malformed(let reason): "not JSON: \(reason)"
        case .notAnObject: "not a JSON object"
        case .notEncodable: "the value cannot be encoded as JSON"
        case .reservedKey: "`aps` is written by the payload itself"
        case .notFinite: "a number is infinite or not a number"
        case .tooLarge(let count, let max): "the payload has \(count) bytes, \(max) are allowed"
        }
    }
}

/// Checks and makes JSON text.
enum PayloadText {
    /// Where the object stands in `text`, without the white space around it.
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
