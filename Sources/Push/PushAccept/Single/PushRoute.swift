import HTTPTypes
import Hummingbird
import NIOCore
import PushModel
import PushStore

/// `POST /push`: one push, to one device or to many. Responds once it is durable.
struct PushRoute: Sendable {
    let apps: AppDirectory
    let collector: SinglePushCollector
    let committer: BatchCommitter
    let idempotency: Idempotency?
    let admission: AdmissionController
    let devices: DeviceLimiter?
    let configuration: AcceptConfiguration
    let metrics: AcceptMetrics

    func respond(to request: Request, _ head: RequestHead) async throws -> Response {
        try checkHeader(head.fields)
        let strict = try StrictOption.value(inQuery: request.uri.query)
        let key = try IdempotencyKeyField.value(in: head.fields)
        let body = try await RequestInput(request).collect(bytesMax: configuration.itemBytesMax)
        guard let key else { return try await accept(body, nil, strict: strict).response() }
        guard let idempotency else { throw Problem.cannotStoreResponse }
        let idempotentRequest = IdempotentRequest(key, route: .push, caller: head.caller, body: body)
        return try await idempotency.respond(to: idempotentRequest) {
            try await accept(body, idempotentRequest, strict: strict)
        }
    }

    /// Checks what the header says of the body, and whether there is capacity for a push, so that a refusal is cheap.
    private func checkHeader(_ fields: HTTPFields) throws(Problem) {
        _ = try BodyFormat(of: fields, linesAllowed: false)
        if collector.isFull { throw full }
    }

    private enum Addition {
        /// `warnings` as in `BulkResults.Notes`.
        case one(SinglePushCollector.Ticket, warnings: [UInt8])
        /// The push has `device_tokens`, and was not added.
        case many
    }

    private func accept(
        _ body: ByteBuffer, _ request: IdempotentRequest?, strict: Bool
    ) async throws(Problem) -> StoredResponse {
        let addition: Addition
        do throws(Refusal) {
            addition = try add(body, request, strict: strict)
        } catch {
            throw Problem(error)
        }
        guard case .one(let ticket, let warnings) = addition else {
            return try await acceptMany(body, request, strict: strict)
        }
        switch await collector.result(of: ticket) {
        case .accepted(let id, let at, let delay):
            let run = BulkResults.Run.accepted(
                firstItem: 0, count: 1, batch: id.batch, firstPush: id.index, at: at, delay,
                notes: BulkResults.Notes(warnings: warnings)
            )
            return StoredResponse(format: .single, runs: [run])
        case .failed(let id, let error):
            if error.isOutcomeUnknown { metrics.outcomeUnknown(pushes: 1) }
            let retryAfter = configuration.retryAfterSeconds
            throw request == nil
                ? Problem(error, pushID: id, retryAfter: retryAfter)
                : Problem(idempotent: error, pushID: id, retryAfter: retryAfter)
        case .full: throw full
        case .stopping: throw Problem(stopping: configuration.retryAfterSeconds)
        }
    }

    private var full: Problem {
        Problem(
            busy: .queueFull, "too many pushes wait to be stored; nothing was accepted, send it again later",
            retryAfter: configuration.retryAfterSeconds
        )
    }

    private func acceptMany(
        _ body: ByteBuffer, _ request: IdempotentRequest?, strict: Bool
    ) async throws(Problem) -> StoredResponse {
        let machine = BulkStateMachine(
            apps: apps, format: .array, configuration: configuration, traceparent: nil, requestID: nil,
            admission: admission, devices: devices, defaultLane: .normal, strict: strict,
            newID: { [committer] in committer.newBatchID() }
        )
        let many = AtomicRequest(
            machine: machine, content: .push, format: .json, committer: committer, configuration: configuration,
            metrics: metrics
        )
        return try await many.serve(body, as: request)
    }

    private func add(
        _ body: ByteBuffer, _ request: IdempotentRequest?, strict: Bool
    ) throws(Refusal) -> Addition {
        guard body.readableBytes > 0 else {
            throw Refusal(.invalidJSON, .text("the body is empty; send a JSON object"))
        }
        var parser = PushParser(apps: apps, defaultLane: .normal, strict: strict)
        let now = collector.now
        let result: Result<Addition, Refusal> = body.withUnsafeReadableBytes { bytes in
            switch parser.parse(bytes, now: now) {
            case .push(let push) where push.tokenCount != nil: return .success(.many)
            case .push(let push):
                if let refusal = admission.refusal(ofAppAt: push.app) { return .failure(.overloaded(refusal)) }
                if let devices, let refusal = parser.admit(push, by: devices) { return .failure(refusal) }
                let warnings = push.isWarned ? ResponseJSON.warnings(parser.findings(push, now: now)) : []
                let ticket = collector.add(push, from: bytes, by: parser, request: request, warnings: warnings)
                return .success(.one(ticket, warnings: warnings))
            case .refused(let refusal): return .failure(refusal)
            }
        }
        return try result.get()
    }
}
