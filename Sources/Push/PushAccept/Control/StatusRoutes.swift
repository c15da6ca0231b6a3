import APNSWire
import Hummingbird
import JSONText
import NIOCore
import PushModel
import PushStore

/// Returns the states of pushes.
struct StatusRoutes: Sendable {
    let outcomes: any OutcomeStore
    /// Why pushes of an app in one environment wait; nil if they do not.
    let delay: @Sendable (AppEnvironment) -> DeliveryDelay?
    let held: HeldBytes
    let configuration: AcceptConfiguration
    let stopFlag: StopFlag

    static let linesType = "application/x-ndjson"

    /// `GET /api/v1/messages/{msg_id}`
    func show(_ text: String?) async throws -> Response {
        guard let text, let id = PushID(text) else { throw Problem.invalidPushID }
        guard let status = try await find([id]).first ?? nil else {
            throw Problem(.notFound, nil, "no push with this msg_id was accepted here, or its record was deleted")
        }
        var json: [UInt8] = []
        append(status, to: &json)
        return .json(json)
    }

    /// `POST /api/v1/messages/query`
    func query(_ request: Request) async throws -> Response {
        switch try BodyFormat(of: request.headers, linesAllowed: true) {
        case .json: return try await queryJSON(request)
        case .lines: return queryLines(request)
        }
    }

    private func find(_ ids: [PushID]) async throws -> [PushStatus?] {
        do {
            return try await outcomes.find(ids)
        } catch {
            throw Problem(
                busy: .storeUnavailable, "the store does not respond; query again later",
                retryAfter: configuration.retryAfterSeconds
            )
        }
    }

    // MARK: {"ids":[…]}

    private func queryJSON(_ request: Request) async throws -> Response {
        let body = ControlBody(
            apps: AppDirectory(apps: []), fields: [.ids], idsMax: configuration.queryIDsMax,
            idsAdvice: "send one id per line as application/x-ndjson"
        )
        guard case .ids(let ids) = try await body.read(request, configuration) else {
            preconditionFailure("this route does not accept the field")
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
        case .queued, .retrying: ResponseJSON.append(status, delay(status.appEnvironment), to: &json)
        case .scheduled, .sending, .settled: ResponseJSON.append(status, nil, to: &json)
        }
    }

    // MARK: Lines

    private func queryLines(_ request: Request) -> Response {
        let input = RequestInput(request)
        let session = QuerySession(configuration: configuration, held: held)
        let body = ResponseBody { output in
            let registration = stopFlag.whenSet { session.stop() }
            defer { registration.cancel() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await session.read(input) }
                while let entries = await session.nextEntries(max: 500) {
                    var json: [UInt8] = []
                    let isComplete = await appendResults(of: entries, to: &json)
                    try await output.write(ByteBuffer(bytes: json))
                    guard isComplete else { break }
                }
                try await output.finish(nil)
                // The reader may still wait for bytes that are no longer needed.
                group.cancelAll()
            }
        }
        return Response(status: .ok, headers: [.contentType: Self.linesType], body: body)
    }

    /// - Returns: false if the query ends early; the last line then states why.
    private func appendResults(of entries: [QuerySession.Entry], to json: inout [UInt8]) async -> Bool {
        let ids = entries.compactMap { entry -> PushID? in
            if case .id(let id) = entry { id } else { nil }
        }
        let found: [PushStatus?]
        do {
            found = try await outcomes.find(ids)
        } catch {
            ResponseJSON.appendQueryFailure(
                state: "unavailable", code: .storeUnavailable,
                detail: "the store does not respond; query again from this line on",
                to: &json
            )
            return false
        }
        var next = found.makeIterator()
        for entry in entries {
            switch entry {
            case .id(let id): append(id, next.next() ?? nil, to: &json)
            case .invalid(let line):
                ResponseJSON.appendQueryFailure(
                    state: "invalid", code: .badField, detail: "the line with index \(line) is not a msg_id",
                    to: &json
                )
            case .end(let code, let text):
                ResponseJSON.appendQueryFailure(state: "unavailable", code: code, detail: text, to: &json)
                return false
            }
        }
        return true
    }
}
