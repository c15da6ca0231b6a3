import HTTPTypes
import Hummingbird
import NIOCore
import PushModel
import PushStore

/// `POST /push`: one push, to one device or to many. Responds once it is durable.
///
/// Serves the requests that `PushHandler` passes on, and has what both share.
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

    private func accept(
        _ body: ByteBuffer, _ request: IdempotentRequest?, strict: Bool
    ) async throws(Problem) -> StoredResponse {
        enum Outcome {
            case one(SinglePushCollector.Result)
            case other(Addition)
        }
        let outcome: Outcome = await withCheckedContinuation { continuation in
            var parser = parser(strict: strict)
            let receiver = SinglePushCollector.Receiver(eventLoop: nil) { continuation.resume(returning: .one($0)) }
            let addition = add(body, request, by: &parser, to: receiver)
            if case .added = addition { return }
            continuation.resume(returning: .other(addition))
        }
        switch outcome {
        case .one(.accepted(let id, let at, let delay, let warnings)):
            let run = BulkResults.Run.accepted(
                firstItem: 0, count: 1, batch: id.batch, firstPush: id.index, at: at, delay,
                notes: BulkResults.Notes(warnings: warnings)
            )
            return StoredResponse(format: .single, runs: [run])
        case .one(let failure): throw problem(of: failure, isIdempotent: request != nil)
        case .other(.refused(let problem)): throw problem
        case .other: return try await acceptMany(body, request, strict: strict)
        }
    }

    // MARK: Shared with the handler

    func parser(strict: Bool = false) -> PushParser { PushParser(apps: apps, defaultLane: .normal, strict: strict) }

    /// Checks what the header says of the body, and whether there is capacity for a push, so that a refusal is cheap.
    func checkHeader(_ fields: HTTPFields) throws(Problem) {
        _ = try BodyFormat(of: fields, linesAllowed: false)
        if collector.isFull { throw full }
    }

    enum Addition {
        /// The receiver receives the result.
        case added
        /// The push has `device_tokens`, and was not added: `acceptMany` accepts it.
        case many
        case refused(Problem)
    }

    /// Parses a push and adds it to the next write. Unless it was added, `receiver` receives nothing.
    func add(
        _ body: ByteBuffer, _ request: IdempotentRequest?, by parser: inout PushParser,
        to receiver: SinglePushCollector.Receiver
    ) -> Addition {
        guard body.readableBytes > 0 else {
            return .refused(Problem(Refusal(.invalidJSON, .text("the body is empty; send a JSON object"))))
        }
        let now = collector.now
        return body.withUnsafeReadableBytes { bytes in
            switch parser.parse(bytes, now: now) {
            case .push(let push) where push.tokenCount != nil: return .many
            case .push(let push):
                if let refusal = admission.refusal(ofAppAt: push.app) { return .refused(Problem(.overloaded(refusal))) }
                if let devices, let refusal = parser.admit(push, by: devices) { return .refused(Problem(refusal)) }
                let warnings = push.isWarned ? ResponseJSON.warnings(parser.findings(push, now: now)) : []
                let refused = collector.add(
                    push, from: bytes, by: parser, request: request, warnings: warnings, to: receiver
                )
                guard let refused else { return .added }
                if let devices { parser.refund(push, to: devices) }
                return .refused(problem(of: refused, isIdempotent: request != nil))
            case .refused(let refusal): return .refused(Problem(refusal))
            }
        }
    }

    /// Accepts a push with `device_tokens`.
    func acceptMany(
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

    /// The problem of a push that was not accepted.
    func problem(of result: SinglePushCollector.Result, isIdempotent: Bool) -> Problem {
        switch result {
        case .failed(let id, let error):
            if error.isOutcomeUnknown { metrics.outcomeUnknown(pushes: 1) }
            let retryAfter = configuration.retryAfterSeconds
            return isIdempotent
                ? Problem(idempotent: error, pushID: id, retryAfter: retryAfter)
                : Problem(error, pushID: id, retryAfter: retryAfter)
        case .full: return full
        case .stopping: return Problem(stopping: configuration.retryAfterSeconds)
        case .accepted: preconditionFailure("an accepted push has no problem")
        }
    }

    private var full: Problem {
        Problem(
            busy: .queueFull, "too many pushes wait to be stored; nothing was accepted, send it again later",
            retryAfter: configuration.retryAfterSeconds
        )
    }
}
