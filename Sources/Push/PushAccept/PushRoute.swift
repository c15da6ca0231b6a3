import Hummingbird
import NIOCore
import PushModel

/// `POST /push`: one push, answered once it is durable.
struct PushRoute: Sendable {
    let apps: AppDirectory
    let collector: SinglePushCollector
    let configuration: AcceptConfiguration
    let metrics: AcceptMetrics

    func respond(to request: Request) async throws -> Response {
        _ = try BodyFormat(of: request, linesAllowed: false)
        let body = try await RequestInput(request).collect(bytesMax: configuration.itemBytesMax)
        let ticket: SinglePushCollector.Ticket
        do {
            ticket = try add(body)
        } catch {
            metrics.refused(error.code)
            throw Problem(error)
        }
        switch await collector.result(of: ticket) {
        case .accepted(let id, let at):
            let json = Answers.accepted(id, at: at)
            return Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: .init(byteBuffer: ByteBuffer(bytes: json))
            )
        case .failed(let id, let error):
            if error.isOutcomeUnknown { metrics.outcomeUnknown(pushes: 1) } else { metrics.refused(error.code) }
            throw Problem(error, pushID: id, retryAfter: configuration.retryAfterSeconds)
        case .full:
            metrics.refused(.queueFull)
            throw Problem(
                busy: .queueFull, "too many pushes wait to be stored; nothing was accepted",
                retryAfter: configuration.retryAfterSeconds
            )
        case .stopping:
            metrics.refused(.shuttingDown)
            throw Problem(
                busy: .shuttingDown, "this instance is stopping; nothing was accepted",
                retryAfter: configuration.retryAfterSeconds
            )
        }
    }

    private func add(_ body: ByteBuffer) throws(Refusal) -> SinglePushCollector.Ticket {
        guard body.readableBytes > 0 else { throw Refusal(.invalidJSON, .text("the body is empty")) }
        var parser = PushParser(apps: apps, defaultLane: .normal)
        let result: Result<SinglePushCollector.Ticket, Refusal> = body.withUnsafeReadableBytes { bytes in
            switch parser.parse(bytes) {
            case .push(let push): .success(collector.add(push, from: bytes, by: parser))
            case .refused(let refusal): .failure(refusal)
            }
        }
        return try result.get()
    }
}
