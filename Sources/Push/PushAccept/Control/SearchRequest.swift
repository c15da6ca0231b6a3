import APNSWire
import Foundation
import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushStore

/// A search and the part of its result that a request asks for: the query parameters of a URL, or a JSON object.
struct SearchRequest: Sendable, Equatable {
    static let messagesDefault = 100
    static let messagesMax = 1000

    private enum Field: String, CaseIterable {
        case token, app, state, code, since, after, limit
        case requestID = "request_id"
    }

    private(set) var query = MessageQuery()
    private(set) var after: PushID?
    private(set) var limit = Self.messagesDefault
    private var seen: Set<Field> = []

    init() {}

    // MARK: Query parameters

    /// `state` and `code` may be repeated, and may have several values with commas in between.
    init(parametersOf request: Request) throws(Problem) {
        for (name, value) in request.uri.queryParameters {
            let isList = name == Field.state.rawValue || name == Field.code.rawValue
            let values = isList ? value.split(separator: ",", omittingEmptySubsequences: false) : [value]
            try set(name, values.map(String.init))
        }
    }

    // MARK: JSON

    /// - Throws: 400 for an invalid body.
    init(json body: ByteBuffer) throws(Problem) {
        // The closure can throw one type of error only; problems are returned as values.
        let result: Result<Self, Problem> = body.withUnsafeReadableBytes { bytes in
            do throws(JSONError) {
                return try Self.scan(bytes)
            } catch {
                return .failure(Problem(.badRequest, .invalidJSON, error.description))
            }
        }
        self = try result.get()
    }

    private static func scan(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> Result<Self, Problem> {
        var request = SearchRequest()
        var reader = JSONReader(bytes, at: ByteOrderMark.length(in: bytes))
        guard try reader.peekKind() == .object else {
            return .failure(Problem(.badRequest, .wrongType, "the body must be an object"))
        }
        try reader.enterObject()
        while let key = try reader.nextKey(isFirst: request.seen.isEmpty) {
            let name = reader.text(key)
            guard let values = try scanValues(&reader) else {
                return .failure(Problem(.wrongType, field: Self.shown(name), "must be a string or an integer"))
            }
            do throws(Problem) {
                try request.set(name[...], values)
            } catch {
                return .failure(error)
            }
        }
        try reader.finish()
        return .success(request)
    }

    /// The strings and integers of one field: a single one, or an array of them; nil if there is anything else.
    private static func scanValues(_ reader: inout JSONReader) throws(JSONError) -> [String]? {
        guard try reader.peekKind() == .array else { return try scanValue(&reader).map { [$0] } }
        var values: [String] = []
        try reader.enterArray()
        while try reader.nextElement(isFirst: values.isEmpty) {
            guard let value = try scanValue(&reader) else { return nil }
            values.append(value)
        }
        return values
    }

    private static func scanValue(_ reader: inout JSONReader) throws(JSONError) -> String? {
        switch try reader.peekKind() {
        case .string: reader.text(try reader.readString())
        case .number: String(try reader.readInteger())
        default: nil
        }
    }

    // MARK: Fields

    private mutating func set(_ name: Substring, _ values: [String]) throws(Problem) {
        // The name that the token has in a push.
        guard let field = name == "device_token" ? Field.token : Field(rawValue: String(name)) else {
            let fields = Field.allCases.map(\.rawValue).sorted().joined(separator: ", ")
            throw Problem(.unknownField, field: Self.shown(String(name)), "no such field; use \(fields)")
        }
        func wrong(_ text: String) -> Problem { Problem(.badField, field: field.rawValue, text) }
        switch field {
        case .state:
            for value in values {
                guard let state = PushStatus.State.all.first(where: { $0.label == value }) else {
                    throw wrong("must be one of \(PushStatus.State.all.map(\.label).joined(separator: ", "))")
                }
                query.states.insert(state)
            }
        case .code:
            for value in values {
                guard let code = ErrorCode.allCases.first(where: { $0.matches(value) }) else {
                    throw wrong("must be numbers or names of error codes; GET /api/v1/codes lists them")
                }
                query.codes.insert(code)
            }
        case .token, .app, .since, .after, .limit, .requestID:
            guard values.count == 1, !seen.contains(field) else { throw wrong("must have one value") }
            if let problem = setSingle(field, values[0]) { throw wrong(problem) }
        }
        seen.insert(field)
    }

    /// - Returns: what is wrong with the value. Never the value itself.
    private mutating func setSingle(_ field: Field, _ value: String) -> String? {
        switch field {
        case .token:
            query.token = Self.token(value)
            if query.token == nil {
                return "must be 2 to \(APNSLimits.deviceTokenBytesMax * 2) hexadecimal digits, an even number"
            }
        case .app, .requestID:
            guard (1...128).contains(value.utf8.count) else { return "must have 1 to 128 bytes" }
            if field == .app { query.app = AppID(value) } else { query.requestID = value }
        case .since:
            query.since = Self.time(value)
            if query.since == nil { return "must be a UNIX time in seconds, or RFC 3339 such as 2026-11-23T12:00:00Z" }
        case .after:
            after = PushID(value)
            if after == nil { return "must be next of the previous page" }
        case .limit:
            guard let limit = Int(value), (1...Self.messagesMax).contains(limit) else {
                return "must be 1 to \(Self.messagesMax)"
            }
            self.limit = limit
        case .state, .code: preconditionFailure("has several values")
        }
        return nil
    }

    private static func token(_ hex: String) -> [UInt8]? {
        let digits = Array(hex.utf8)
        guard digits.count >= 2, digits.count.isMultiple(of: 2), digits.count / 2 <= APNSLimits.deviceTokenBytesMax
        else { return nil }
        var token: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = Character(UnicodeScalar(digits[index])).hexDigitValue,
                let low = Character(UnicodeScalar(digits[index + 1])).hexDigitValue
            else { return nil }
            token.append(UInt8(high << 4 | low))
        }
        return token
    }

    private static func time(_ text: String) -> WallTime? {
        if let seconds = Int64(text) { return WallTime(seconds: seconds) }
        for hasFraction in [false, true] {
            let style = Date.ISO8601FormatStyle(includingFractionalSeconds: hasFraction)
            if let date = try? Date(text, strategy: style) {
                return WallTime(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded()))
            }
        }
        return nil
    }

    /// A name that the caller sent, shortened.
    private static func shown(_ name: String) -> String { String(decoding: name.utf8.prefix(64), as: UTF8.self) }
}

extension ErrorCode {
    /// Whether `text` is its number or its name.
    /// Whether `text` is the number or the name of the code.
    package func matches(_ text: String) -> Bool {
        self != .none && (text == String(rawValue) || text == entry.name)
    }
}
