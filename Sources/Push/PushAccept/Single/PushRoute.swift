import Hummingbird
import NIOCore
import PushModel
import PushStore

/// `POST /push`: one push. Responds once it is durable.
struct PushRoute: Sendable {
    let apps: AppDirectory
    let collector: SinglePushCollector
    let idempotency: Idempotency?
    let admission: AdmissionController
    let devices: DeviceLimiter?
    let configuration: AcceptConfiguration
    let metrics: AcceptMetrics

    func respond(to request: Request) async throws -> Response {
        _ = try BodyFormat(of: request, linesAllowed: false)
        let key = try IdempotencyKeyField.value(of: request)
        // Checked before the body is read, so that a refusal under overload is cheap.
        if collector.isFull { throw Self.full(retryAfter: configuration.retryAfterSeconds) }
        let body = try await RequestInput(request).collect(bytesMax: configuration.itemBytesMax)
        guard let key else {
            let (id, at, delay) = try await accept(body, nil)
            return Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: .init(byteBuffer: ByteBuffer(bytes: ResponseJSON.accepted(id, at: at, delay)))
            )
        }
        guard let idempotency else { throw Problem.cannotStoreResponse }
        let idempotentRequest = IdempotentRequest(key, route: .push, request: request, body: body)
        return try await idempotency.respond(to: idempotentRequest) {
            let (id, at, delay) = try await accept(body, idempotentRequest)
            let run = BulkResults.Run.accepted(
                firstItem: 0, count: 1, batch: id.batch, firstPush: id.index, at: at, delay
            )
            return StoredResponse(format: .single, runs: [run])
        }
    }

    private func accept(
        _ body: ByteBuffer, _ request: IdempotentRequest?
    ) async throws(Problem) -> (PushID, at: WallTime, DeliveryDelay?) {
        let ticket: SinglePushCollector.Ticket
        do throws(Refusal) {
            ticket = try add(body, request)
        } catch {
            throw Problem(error)
        }
        switch await collector.result(of: ticket) {
        case .accepted(let id, let at, let delay): return (id, at, delay)
        case .failed(let id, let error):
            if error.isOutcomeUnknown { metrics.outcomeUnknown(pushes: 1) }
            let retryAfter = configuration.retryAfterSeconds
            throw request == nil
                ? Problem(error, pushID: id, retryAfter: retryAfter)
                : Problem(idempotent: error, pushID: id, retryAfter: retryAfter)
        case .full: throw Self.full(retryAfter: configuration.retryAfterSeconds)
        case .stopping: throw Problem(stopping: configuration.retryAfterSeconds)
        }
    }

    private static func full(retryAfter: Int) -> Problem {
        Problem(
            busy: .queueFull, "too many pushes wait to be stored; nothing was accepted, send it again later",
            retryAfter: retryAfter
        )
    }

    private func add(_ body: ByteBuffer, _ request: IdempotentRequest?) throws(Refusal) -> SinglePushCollector.Ticket {
        guard body.readableBytes > 0 else {
            throw Refusal(.invalidJSON, .text("the body is empty; send a JSON object"))
        }
        var parser = PushParser(apps: apps, defaultLane: .normal)
        let result: Result<SinglePushCollector.Ticket, Refusal> = body.withUnsafeReadableBytes { bytes in
            switch parser.parse(bytes, now: collector.now) {
            case .push(let push):
                if let refusal = admission.refusal(ofAppAt: push.app) { return .failure(.overloaded(refusal)) }
                if let devices, let refusal = parser.admit(push, by: devices) { return .failure(refusal) }
                return .success(collector.add(push, from: bytes, by: parser, request: request))
            case .refused(let refusal): return .failure(refusal)
            }
        }
        return try result.get()
    }
}
