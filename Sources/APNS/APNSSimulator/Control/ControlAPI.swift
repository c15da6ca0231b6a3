#if SimulatorControl
import APNSWire
import Hummingbird
import JSONText
import NIOCore

/// The HTTP API that inspects and scripts a simulator. It has no authentication and shows payloads, so it is for tests
/// and demos on loopback only.
struct ControlAPI: Sendable {
    /// The largest request body in bytes.
    private static let bodyBytesMax = 256 * 1024
    /// IDs per chunk of a response: about 600 KB.
    private static let idsPerChunk = 16_384
    private static let pushesPerResponseMax = 10_000
    /// Pushes per chunk of a response: less than 1 MB.
    private static let pushesPerChunk = 200

    let state: SimulatorState
    let runner: ScenarioRunner

    func router() -> Router<BasicRequestContext> {
        let router = Router()
        router.add(middleware: ControlProblemMiddleware())
        DeviceRoutes(state: state).add(to: router)
        addScenarioRoutes(router)
        router.get("/healthz") { _, _ in Self.text("ok\n") }
        router.get("/counters") { _, _ in Self.json(state.counters.json()) }
        router.get("/pushes") { request, _ in try pushes(request) }
        router.get("/ids") { _, _ in ids() }
        router.put("/tokens/:token") { request, context in
            let token = try token(context)
            let body = try await body(request)
            let document = try Self.parse { () throws(ControlDocumentError) in
                try SimulatedTokenState.document(body, now: state.configuration.clock())
            }
            guard state.setTokenState(document.state, of: token.bytes, after: document.delay) else {
                throw ControlProblem(.tooManyRequests, "\(SimulatorState.tokenStatesMax) tokens already have a state")
            }
            return Response(status: .noContent)
        }
        router.delete("/tokens/:token") { _, context in
            _ = state.setTokenState(nil, of: try token(context).bytes)
            return Response(status: .noContent)
        }
        router.put("/faults") { request, _ in
            let body = try await body(request)
            state.setFaults(try Self.parse { () throws(ControlDocumentError) in try FaultPlan(document: body) })
            return Response(status: .noContent)
        }
        router.delete("/faults") { _, _ in
            state.setFaults(FaultPlan())
            return Response(status: .noContent)
        }
        router.post("/reset") { _, _ in
            runner.stop()
            state.reset()
            return Response(status: .noContent)
        }
        return router
    }

    private func pushes(_ request: Request) throws -> Response {
        let query = request.uri.queryParameters
        let after = try Self.number(query["after"], "after", 0...Int.max) ?? 0
        let limit = try Self.number(query["limit"], "limit", 1...Self.pushesPerResponseMax) ?? 1000
        let tokens = query["tokens"].map(String.init) ?? "short"
        guard ["short", "full"].contains(tokens) else {
            throw ControlProblem(.badRequest, "tokens must be short or full")
        }
        let state = state
        // In chunks, so that a slow reader holds little memory: each chunk is read from the log when it is written.
        let body = ResponseBody { writer in
            var (next, left) = (UInt64(after), limit)
            while left > 0 {
                let pushes = state.pushes(after: next, limit: min(left, Self.pushesPerChunk))
                guard let last = pushes.last else { break }
                var bytes: [UInt8] = []
                for push in pushes {
                    push.appendJSON(to: &bytes, showsToken: tokens == "full")
                    bytes.append(UInt8(ascii: "\n"))
                }
                try await writer.write(ByteBuffer(bytes: bytes))
                next = last.sequence
                left -= pushes.count
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "application/x-ndjson"], body: body)
    }

    /// Streams the IDs in chunks, each read from the log by number. IDs that leave the log in the meantime are skipped.
    private func ids() -> Response {
        let state = state
        let body = ResponseBody { writer in
            var (next, last) = state.takenIDNumbers
            while next <= last {
                let ids = state.takenIDs(after: next - 1, limit: Self.idsPerChunk)
                if ids.isEmpty { break }
                var chunk = ByteBuffer()
                chunk.reserveCapacity(ids.count * (APNSID.textLength + 1))
                for id in ids {
                    chunk.writeWithUnsafeMutableBytes(minimumWritableBytes: APNSID.textLength + 1) { output in
                        id.write(to: output)
                        output[APNSID.textLength] = UInt8(ascii: "\n")
                        return APNSID.textLength + 1
                    }
                }
                try await writer.write(chunk)
                next += UInt64(ids.count)
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "text/plain; charset=utf-8"], body: body)
    }

    // MARK: Request parsing

    private func token(_ context: BasicRequestContext) throws -> DeviceToken {
        guard let token = DeviceToken(hex: context.parameters.get("token") ?? "") else {
            throw ControlProblem(.badRequest, "the token must be an even number of hexadecimal digits, 2 to 510")
        }
        return token
    }

    func body(_ request: Request) async throws -> [UInt8] {
        var request = request
        do {
            return Array(try await request.collectBody(upTo: Self.bodyBytesMax).readableBytesView)
        } catch is NIOTooManyBytesError {
            throw ControlProblem(.contentTooLarge, "the body is larger than \(Self.bodyBytesMax) bytes")
        }
    }

    /// Runs `read` and converts its error to a 400 response.
    static func parse<Value>(_ read: () throws(ControlDocumentError) -> Value) throws -> Value {
        do throws(ControlDocumentError) {
            return try read()
        } catch {
            throw ControlProblem(.badRequest, error.description)
        }
    }

    private static func number(_ text: Substring?, _ name: String, _ range: ClosedRange<Int>) throws -> Int? {
        guard let text else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw ControlProblem(
                .badRequest, "\(name) must be a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    // MARK: Responses

    private static func text(_ text: String) -> Response { response(Array(text.utf8), "text/plain; charset=utf-8") }

    static func json(_ bytes: [UInt8]) -> Response { response(bytes, "application/json") }

    private static func response(_ bytes: [UInt8], _ contentType: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: contentType], body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        )
    }
}

/// An error response of the control API (RFC 9457).
struct ControlProblem: HTTPResponseError {
    let status: HTTPResponse.Status
    let detail: String

    init(_ status: HTTPResponse.Status, _ detail: String) {
        self.status = status
        self.detail = detail
    }

    func response(from request: Request, context: some RequestContext) throws -> Response {
        var body: [UInt8] = []
        JSONWriter.append("{\"title\":", to: &body)
        JSONWriter.appendString(status.reasonPhrase, to: &body)
        JSONWriter.append(",\"status\":", to: &body)
        JSONWriter.appendInteger(status.code, to: &body)
        JSONWriter.append(",\"detail\":", to: &body)
        JSONWriter.appendString(detail, to: &body)
        JSONWriter.append("}", to: &body)
        return Response(
            status: status, headers: [.contentType: "application/problem+json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body))
        )
    }
}

/// Converts errors of the framework, such as an unknown route, to the same form.
private struct ControlProblemMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: BasicRequestContext,
        next: (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let problem as ControlProblem {
            return try problem.response(from: request, context: context)
        } catch let error as HTTPError {
            return try ControlProblem(error.status, error.body ?? error.status.reasonPhrase)
                .response(from: request, context: context)
        }
    }
}
#endif
