import Hummingbird
import NIOCore
import PushModel
import PushStore

/// `POST /push`: one push, answered once it is durable.
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
        // Before the body is read: under overload a refusal must cost next to nothing.
        if collector.isFull { throw refused(.full) }
        let body = try await RequestInput(request).collect(bytesMax: configuration.itemBytesMax)
        guard let key else {
            let (id, at, delay) = try await accept(body, nil)
            return Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: .init(byteBuffer: ByteBuffer(bytes: ResponseJSON.accepted(id, at: at, delay)))
            )
        }
        guard let idempotency else { throw Problem.cannotStoreResponse }
        let keyed = IdempotentRequest(key, route: .push, request: request, body: body)
        return try await idempotency.answer(keyed) {
            let (id, at, delay) = try await accept(body, keyed)
            let piece = BulkResults.Piece.accepted(
                first: 0, count: 1, batch: id.batch, place: id.index, at: at, delay
            )
            return StoredResponse(form: .single, pieces: [piece])
        }
    }

    private func accept(
        _ body: ByteBuffer, _ keyed: IdempotentRequest?
    ) async throws(Problem) -> (PushID, at: WallTime, DeliveryDelay?) {
        let ticket: SinglePushCollector.Ticket
        do throws(Refusal) {
            ticket = try add(body, keyed)
        } catch {
            throw Problem(error)
        }
        switch await collector.result(of: ticket) {
        case .accepted(let id, let at, let delay): return (id, at, delay)
        case .failed(let id, let error):
            if error.isOutcomeUnknown { metrics.outcomeUnknown(pushes: 1) }
            let retryAfter = configuration.retryAfterSeconds
            throw keyed == nil
                ? Problem(error, pushID: id, retryAfter: retryAfter)
                : Problem(keyed: error, pushID: id, retryAfter: retryAfter)
        case .full: throw refused(.full)
        case .stopping: throw refused(.stopping)
        }
    }

    private enum Busy {
        case full, stopping
    }

    private func refused(_ busy: Busy) -> Problem {
        switch busy {
        case .full:
            return Problem(
                busy: .queueFull, "too many pushes wait to be stored; nothing was accepted",
                retryAfter: configuration.retryAfterSeconds
            )
        case .stopping:
            return Problem(stopping: configuration.retryAfterSeconds)
        }
    }

    private func add(_ body: ByteBuffer, _ keyed: IdempotentRequest?) throws(Refusal) -> SinglePushCollector.Ticket {
        guard body.readableBytes > 0 else { throw Refusal(.invalidJSON, .text("the body is empty")) }
        var parser = PushParser(apps: apps, defaultLane: .normal)
        let result: Result<SinglePushCollector.Ticket, Refusal> = body.withUnsafeReadableBytes { bytes in
            switch parser.parse(bytes) {
            case .push(let push):
                if let refusal = admission.refusal(ofAppAt: push.app) { return .failure(.overloaded(refusal)) }
                if let devices, let refusal = parser.refusal(of: push, by: devices) { return .failure(refusal) }
                return .success(collector.add(push, from: bytes, by: parser, request: keyed))
            case .refused(let refusal): return .failure(refusal)
            }
        }
        return try result.get()
    }
}
