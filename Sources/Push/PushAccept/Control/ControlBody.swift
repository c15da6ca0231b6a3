import HTTPTypes
import JSONText
import NIOCore
import PushModel

/// Parses the selection of a control request or query: a JSON object with exactly one field.
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
    /// The fields that the route accepts.
    let fields: [Field]
    let idsMax: Int
    /// What to do with more than `idsMax` ids, for the problem's detail.
    var idsAdvice = "send several requests"
    /// Whether an app that is not configured is accepted; the route then checks it.
    var acceptsAnyApp = false

    private typealias ScanResult = Result<Selection, Problem>

    /// - Throws: 400 for an invalid body; 404 for an app that is not configured, unless `acceptsAnyApp`.
    func read(_ body: ByteBuffer) throws(Problem) -> Selection {
        // The closure can throw one type of error only; problems are returned as values.
        let result: ScanResult = body.withUnsafeReadableBytes { bytes in
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

    private func scan(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> ScanResult {
        func wrong(_ code: ErrorCode, _ field: Field, _ text: String) -> ScanResult {
            .failure(Problem(code, field: field.rawValue, text))
        }
        var reader = JSONReader(bytes, at: ByteOrderMark.length(in: bytes))
        guard try reader.peekKind() == .object else {
            return .failure(Problem(.badRequest, .wrongType, "the body must be \(expected)"))
        }
        try reader.enterObject()
        guard let key = try reader.nextKey(isFirst: true) else {
            return .failure(Problem(.badRequest, .missingField, "the body must be \(expected)"))
        }
        guard let field = Field(rawValue: reader.text(key)), fields.contains(field) else {
            return .failure(Problem(.badRequest, .unknownField, "no such field; the body must be \(expected)"))
        }
        let selection: Selection
        switch field {
        case .ids:
            switch try scanIDs(&reader) {
            case .success(let ids): selection = .ids(ids)
            case .failure(let problem): return .failure(problem)
            }
        case .request, .app:
            guard try reader.peekKind() == .string else { return wrong(.wrongType, field, "must be a string") }
            let text = reader.text(try reader.readString())
            guard (1...128).contains(text.utf8.count) else {
                return wrong(.badField, field, "must have 1 to 128 bytes")
            }
            selection = field == .app ? .app(AppID(text)) : .request(text)
        case .all:
            guard try reader.peekKind() == .boolean, try reader.readBoolean() else {
                return wrong(.wrongType, field, "must be true; select fewer with another field")
            }
            selection = .all
        }
        guard try reader.nextKey(isFirst: false) == nil else {
            return .failure(Problem(.badRequest, .unknownField, "\(field.rawValue) must be the only field"))
        }
        try reader.finish()
        if case .app(let app) = selection, !acceptsAnyApp, apps.app(named: app.name) == nil {
            return .failure(.unknownApp)
        }
        return .success(selection)
    }

    private func scanIDs(_ reader: inout JSONReader) throws(JSONError) -> Result<[PushID], Problem> {
        func wrong(_ code: ErrorCode, _ text: String) -> Result<[PushID], Problem> {
            .failure(Problem(code, field: "ids", text))
        }
        guard try reader.peekKind() == .array else { return wrong(.wrongType, "must be an array of strings") }
        var ids: [PushID] = []
        try reader.enterArray()
        var isFirst = true
        while try reader.nextElement(isFirst: isFirst) {
            isFirst = false
            guard try reader.peekKind() == .string else { return wrong(.wrongType, "must be an array of strings") }
            guard let id = PushID(reader.text(try reader.readString())) else {
                return wrong(.badField, "the element with index \(ids.count) is not a msg_id")
            }
            guard ids.count < idsMax else {
                return wrong(.badField, "must have at most \(idsMax) elements; \(idsAdvice)")
            }
            ids.append(id)
        }
        return .success(ids)
    }
}

extension Problem {
    static let unknownApp = Problem(.notFound, .unknownApp, "no app of this name is configured")

    static let invalidPushID = Problem(
        .badRequest, .badField, "not a msg_id; use a UUID such as 0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0007"
    )
}
