import JSONText

/// Why a document sent to the control API was refused: one sentence that names the place.
public struct ControlDocumentError: Error, Equatable, CustomStringConvertible {
    public var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// A strict walk through a JSON document: unknown and repeated members are errors, and errors name their place.
struct ControlDocument {
    private var reader: JSONReader

    /// Reads all of `bytes` with `read`.
    static func parse<Value>(
        _ bytes: [UInt8], _ read: (inout ControlDocument) throws -> Value
    ) throws(ControlDocumentError) -> Value {
        do {
            return try bytes.withUnsafeBytes { buffer in
                var document = ControlDocument(reader: JSONReader(buffer))
                let value = try read(&document)
                try document.reader.finish()
                return value
            }
        } catch let error as ControlDocumentError {
            throw error
        } catch {
            throw ControlDocumentError("not the JSON that is wanted: \(error)")
        }
    }

    mutating func object(_ place: String, _ member: (String, inout ControlDocument) throws -> Bool) throws {
        guard try reader.peekKind() == .object else { throw ControlDocumentError("\(place) must be an object") }
        try reader.enterObject()
        var names: Set<String> = []
        while let key = try reader.nextKey(isFirst: names.isEmpty) {
            let name = reader.text(key)
            guard names.insert(name).inserted else { throw ControlDocumentError("\(place) has \"\(name)\" twice") }
            guard try member(name, &self) else {
                throw ControlDocumentError("\(place) has an unknown member \"\(name)\"")
            }
        }
    }

    mutating func array(_ place: String, countMax: Int, _ element: (Int, inout ControlDocument) throws -> Void) throws {
        guard try reader.peekKind() == .array else { throw ControlDocumentError("\(place) must be an array") }
        try reader.enterArray()
        var count = 0
        while try reader.nextElement(isFirst: count == 0) {
            guard count < countMax else { throw ControlDocumentError("\(place) has more than \(countMax) elements") }
            try element(count, &self)
            count += 1
        }
    }

    mutating func string(_ place: String) throws -> String {
        guard try reader.peekKind() == .string else { throw ControlDocumentError("\(place) must be a string") }
        return reader.text(try reader.readString())
    }

    mutating func boolean(_ place: String) throws -> Bool {
        guard try reader.peekKind() == .boolean else { throw ControlDocumentError("\(place) must be true or false") }
        return try reader.readBoolean()
    }

    mutating func integer(_ place: String, _ range: ClosedRange<Int64>) throws -> Int64 {
        let wanted = ControlDocumentError("\(place) must be an integer from \(range.lowerBound) to \(range.upperBound)")
        guard try reader.peekKind() == .number, let value = try? reader.readInteger(), range.contains(value) else {
            throw wanted
        }
        return value
    }

    mutating func share(_ place: String) throws -> Double {
        let wanted = ControlDocumentError("\(place) must be a number from 0 to 1")
        guard try reader.peekKind() == .number else { throw wanted }
        let text = String(
            decoding: UnsafeRawBufferPointer(rebasing: reader.bytes[try reader.skipValue()]), as: UTF8.self)
        guard let value = Double(text), (0...1).contains(value) else { throw wanted }
        return value
    }

    /// A number, or one of RFC 9113's names.
    mutating func errorCode(_ place: String) throws -> UInt32 {
        guard try reader.peekKind() == .string else {
            return UInt32(try integer(place, 0...Int64(UInt32.max)))
        }
        let name = try string(place)
        guard let code = Self.errorCodes.firstIndex(of: name) else {
            throw ControlDocumentError("\(place) is no HTTP/2 error code; a number or a name like REFUSED_STREAM is")
        }
        return UInt32(code)
    }

    /// RFC 9113, section 7, by number.
    private static let errorCodes = [
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
        "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ]
}
