import HTTPTypes
import JSONText
import NIOCore
import PushModel

/// Reads which pushes a request is about: a JSON object with exactly one of a few fields.
struct ControlBody: Sendable {
    enum Field: String, Sendable {
        case ids
        case request = "request_id"
        case app
        case all
    }

    enum Selection: Sendable, Equatable {
        case ids([PushID])
        case request(String)
        case app(AppID)
        case all
    }

    let apps: AppDirectory
    /// The fields that this route takes.
    let fields: [Field]
    let idsMax: Int
    /// Added to the text when there are more ids.
    var idsAdvice = "send several requests"
    /// Whether to look at apps that are not configured is left to the route.
    var takesAnyApp = false

    private typealias Scanned = Result<Selection, Problem>

    /// - Throws: 400, or 404 for an app that is not configured unless `takesAnyApp`.
    func read(_ body: ByteBuffer) throws(Problem) -> Selection {
        // A typed throw of two kinds of errors does not pass through the closure.
        let result: Scanned = body.withUnsafeReadableBytes { bytes in
            do throws(JSONError) {
                return try scan(bytes)
            } catch {
                return .failure(Problem(.badRequest, .invalidJSON, error.description))
            }
        }
        return try result.get()
    }

    private var expected: String {
        fields.count == 1 ? "{\"ids\":[…]}" : "an object with one of " + fields.map(\.rawValue).joined(separator: ", ")
    }

    private func scan(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> Scanned {
        func wrong(_ code: ErrorCode, _ field: Field, _ text: String) -> Scanned {
            .failure(Problem(code, field: field.rawValue, text))
        }
        var reader = JSONReader(bytes)
        guard try reader.peekKind() == .object else {
            return .failure(Problem(.badRequest, .wrongType, "the body is not \(expected)"))
        }
        try reader.enterObject()
        guard let key = try reader.nextKey(isFirst: true) else {
            return .failure(Problem(.badRequest, .missingField, "the body is not \(expected)"))
        }
        guard let field = Field(rawValue: reader.text(key)), fields.contains(field) else {
            return .failure(Problem(.badRequest, .unknownField, "there is no such field; the body is \(expected)"))
        }
        let selection: Selection
        switch field {
        case .ids:
            switch try scanIDs(&reader) {
            case .success(let ids): selection = .ids(ids)
            case .failure(let problem): return .failure(problem)
            }
        case .request, .app:
            guard try reader.peekKind() == .string else { return wrong(.wrongType, field, "a string") }
            let text = reader.text(try reader.readString())
            guard (1...128).contains(text.utf8.count) else { return wrong(.badField, field, "1 to 128 bytes") }
            selection = field == .app ? .app(AppID(text)) : .request(text)
        case .all:
            guard try reader.peekKind() == .boolean, try reader.readBoolean() else {
                return wrong(.wrongType, field, "true, or another field")
            }
            selection = .all
        }
        guard try reader.nextKey(isFirst: false) == nil else {
            return .failure(Problem(.badRequest, .unknownField, "\(field.rawValue) is the only field; give no other"))
        }
        try reader.finish()
        if case .app(let app) = selection, !takesAnyApp, apps.app(named: app.name) == nil {
            return .failure(.unknownApp)
        }
        return .success(selection)
    }

    private func scanIDs(_ reader: inout JSONReader) throws(JSONError) -> Result<[PushID], Problem> {
        func wrong(_ code: ErrorCode, _ text: String) -> Result<[PushID], Problem> {
            .failure(Problem(code, field: "ids", text))
        }
        guard try reader.peekKind() == .array else { return wrong(.wrongType, "an array of strings") }
        var ids: [PushID] = []
        try reader.enterArray()
        var isFirst = true
        while try reader.nextElement(isFirst: isFirst) {
            isFirst = false
            guard try reader.peekKind() == .string else { return wrong(.wrongType, "an array of strings") }
            guard let id = PushID(reader.text(try reader.readString())) else {
                return wrong(.badField, "number \(ids.count), counted from 0, is not a msg_id")
            }
            guard ids.count < idsMax else { return wrong(.badField, "at most \(idsMax); \(idsAdvice)") }
            ids.append(id)
        }
        return .success(ids)
    }
}

extension Problem {
    static let unknownApp = Problem(.notFound, .unknownApp, "no app of this name is configured")

    /// A component of the path that should be an id.
    static let noID = Problem(
        .badRequest, .badField, "a msg_id is a UUID such as 0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0007"
    )
}
