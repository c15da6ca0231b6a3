import APNSWire
import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushStore

/// What became of pushes: one by its id, or many.
struct StatusRoutes: Sendable {
    let outcomes: any OutcomeStore
    /// Why pushes of an app wait; nil when they do not.
    let delay: @Sendable (AppID) -> DeliveryDelay?
    let configuration: AcceptConfiguration
    let stopFlag: StopFlag

    static let linesType = "application/x-ndjson"

    /// `GET /api/v1/messages/{msg_id}`
    func one(_ text: String?) async throws -> Response {
        guard let text, let id = PushID(text) else { throw Problem.noID }
        guard let status = try await find([id]).first ?? nil else {
            throw Problem(.notFound, nil, "no push of this msg_id was accepted here, or its record has been removed")
        }
        var json: [UInt8] = []
        append(status, to: &json)
        return .json(json)
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
        let body = ControlBody(
            apps: AppDirectory(apps: []), fields: [.ids], idsMax: configuration.queryIDsMax,
            idsAdvice: "send more of them as lines"
        )
        guard case .ids(let ids) = try await body.read(request, configuration) else {
            preconditionFailure("a field that this route does not take")
        }
        var json: [UInt8] = []
        for (id, status) in zip(ids, try await find(ids)) { append(id, status, to: &json) }
        return Response(
            status: .ok, headers: [.contentType: Self.linesType], body: .init(byteBuffer: ByteBuffer(bytes: json))
        )
    }

    private func append(_ id: PushID, _ status: PushStatus?, to json: inout [UInt8]) {
        if let status { append(status, to: &json) } else { ResponseJSON.appendUnknown(id, to: &json) }
    }

    private func append(_ status: PushStatus, to json: inout [UInt8]) {
        switch status.state {
        case .queued, .retrying: ResponseJSON.append(status, delay(status.app), to: &json)
        case .scheduled, .sending, .settled: ResponseJSON.append(status, nil, to: &json)
        }
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
            ResponseJSON.appendUnanswered(
                state: "unavailable", code: .storeUnavailable,
                detail: "the store does not answer; ask again from here on",
                to: &json
            )
            return false
        }
        var next = found.makeIterator()
        for question in questions {
            switch question {
            case .id(let id): append(id, next.next() ?? nil, to: &json)
            case .invalid(let line):
                ResponseJSON.appendUnanswered(
                    state: "invalid", code: .badField, detail: "line \(line), counted from 0, is not a msg_id",
                    to: &json
                )
            case .end(let code, let text):
                ResponseJSON.appendUnanswered(state: "unavailable", code: code, detail: text, to: &json)
                return false
            }
        }
        return true
    }
}
