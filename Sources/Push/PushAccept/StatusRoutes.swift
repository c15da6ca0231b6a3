import APNSWire
import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushStore

/// What became of pushes: one by its id, or many.
struct StatusRoutes: Sendable {
    let outcomes: any OutcomeStore
    let configuration: AcceptConfiguration
    let stopFlag: StopFlag

    static let linesType = "application/x-ndjson"

    /// `GET /api/v1/messages/{msg_id}`
    func one(_ text: String?) async throws -> Response {
        guard let text, let id = PushID(text) else {
            throw Problem(.badRequest, .badField, "a msg_id is a UUID such as 0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0007")
        }
        guard let status = try await find([id]).first ?? nil else {
            throw Problem(.notFound, nil, "no push of this msg_id was accepted here, or its record has been removed")
        }
        var json: [UInt8] = []
        Answers.append(status, to: &json)
        return Response(
            status: .ok, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(bytes: json))
        )
    }

    /// `POST /api/v1/messages/query`
    func many(_ request: Request) async throws -> Response {
        switch try BodyFormat(of: request, linesAllowed: true) {
        case .json: return try await list(request)
        case .lines: return lines(request)
        }
    }

    private func find(_ ids: [PushID]) async throws -> [PushStatus?] {
        do {
            return try await outcomes.find(ids)
        } catch {
            throw Problem(
                busy: .storeUnavailable, "the store does not answer", retryAfter: configuration.retryAfterSeconds
            )
        }
    }

    // MARK: {"ids":[…]}

    private func list(_ request: Request) async throws -> Response {
        let body = try await RequestInput(request).collect(bytesMax: configuration.itemBytesMax)
        let ids = try body.withUnsafeReadableBytes { bytes throws(Problem) in try parse(bytes) }
        var json: [UInt8] = []
        for (id, status) in zip(ids, try await find(ids)) { Self.append(id, status, to: &json) }
        return Response(
            status: .ok, headers: [.contentType: Self.linesType], body: .init(byteBuffer: ByteBuffer(bytes: json))
        )
    }

    private func parse(_ bytes: UnsafeRawBufferPointer) throws(Problem) -> [PushID] {
        let result: Result<[PushID], Problem>
        do throws(JSONError) {
            result = try scan(bytes)
        } catch {
            throw Problem(.badRequest, .invalidJSON, error.description)
        }
        return try result.get()
    }

    private func scan(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> Result<[PushID], Problem> {
        func refused(_ code: ErrorCode, _ text: String) -> Result<[PushID], Problem> {
            var problem = Problem(.badRequest, code, "ids: \(text)")
            problem.field = "ids"
            return .failure(problem)
        }
        var reader = JSONReader(bytes)
        guard try reader.peekKind() == .object else { return refused(.wrongType, "expected {\"ids\":[…]}") }
        try reader.enterObject()
        guard let key = try reader.nextKey(isFirst: true) else { return refused(.missingField, "required") }
        guard reader.text(key) == "ids" else { return refused(.unknownField, "is the only field") }
        guard try reader.peekKind() == .array else { return refused(.wrongType, "an array of strings") }
        var ids: [PushID] = []
        try reader.enterArray()
        var isFirst = true
        while try reader.nextElement(isFirst: isFirst) {
            isFirst = false
            guard try reader.peekKind() == .string else { return refused(.wrongType, "an array of strings") }
            guard let id = PushID(reader.text(try reader.readString())) else {
                return refused(.badField, "number \(ids.count), counted from 0, is not a msg_id")
            }
            guard ids.count < configuration.queryIDsMax else {
                return refused(.badField, "at most \(configuration.queryIDsMax); send more of them as lines")
            }
            ids.append(id)
        }
        guard try reader.nextKey(isFirst: false) == nil else { return refused(.unknownField, "is the only field") }
        try reader.finish()
        return .success(ids)
    }

    private static func append(_ id: PushID, _ status: PushStatus?, to json: inout [UInt8]) {
        if let status { Answers.append(status, to: &json) } else { Answers.appendUnknown(id, to: &json) }
    }

    // MARK: Lines

    private func lines(_ request: Request) -> Response {
        let input = RequestInput(request)
        let session = QuerySession(configuration: configuration)
        let body = ResponseBody { output in
            let registration = stopFlag.whenSet { session.stop() }
            defer { registration.cancel() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await session.read(input) }
                while let questions = await session.nextQuestions(max: 500) {
                    var json: [UInt8] = []
                    let isAnswered = await answer(questions, to: &json)
                    try await output.write(ByteBuffer(bytes: json))
                    guard isAnswered else { break }
                }
                try await output.finish(nil)
                // The reader may still wait for bytes that nobody wants.
                group.cancelAll()
            }
        }
        return Response(status: .ok, headers: [.contentType: Self.linesType], body: body)
    }

    /// - Returns: false when the store does not answer; then the last line says so.
    private func answer(_ questions: [QuerySession.Question], to json: inout [UInt8]) async -> Bool {
        let ids = questions.compactMap { question -> PushID? in
            if case .id(let id) = question { id } else { nil }
        }
        let found: [PushStatus?]
        do {
            found = try await outcomes.find(ids)
        } catch {
            Answers.appendUnanswered(
                state: "unavailable", code: .storeUnavailable,
                detail: "the store does not answer; ask again from here on",
                to: &json
            )
            return false
        }
        var next = found.makeIterator()
        for question in questions {
            switch question {
            case .id(let id): Self.append(id, next.next() ?? nil, to: &json)
            case .invalid(let line):
                Answers.appendUnanswered(
                    state: "invalid", code: .badField, detail: "line \(line), counted from 0, is not a msg_id",
                    to: &json
                )
            case .end(let code, let text):
                Answers.appendUnanswered(state: "unavailable", code: code, detail: text, to: &json)
                return false
            }
        }
        return true
    }
}
