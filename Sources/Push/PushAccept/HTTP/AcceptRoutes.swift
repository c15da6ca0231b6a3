import Hummingbird
import JSONText
import NIOCore
import PushModel
import Telemetry

/// The routes of accept on a Hummingbird router.
struct AcceptRoutes: Sendable {
    let push: PushRoute
    let bulk: BulkRoute
    let status: StatusRoutes
    let control: ControlRoutes
    let deadLetters: DeadLetterRoutes
    let doors: RequestMiddleware
    let readiness: @Sendable () -> [String]
    let stopFlag: StopFlag
    let registry: MetricsRegistry

    func router() -> Router<AcceptContext> {
        let router = Router(context: AcceptContext.self, options: .autoGenerateHeadEndpoints)
        for route in RouteTable.all {
            router.on(RouterPath(route.path), method: route.method, responder: responder(for: route))
        }
        return router
    }

    private typealias Serve = @Sendable (Request, AcceptContext) async throws -> Response

    private func responder(for route: RouteTable.Route) -> CallbackResponder<AcceptContext> {
        let serve = handler(for: route)
        guard let door = doors.door(of: route.metric) else { return CallbackResponder { try await serve($0, $1) } }
        return CallbackResponder { request, context in
            try await door.pass(request, context) { try await serve(request, context) }
        }
    }

    private func handler(for route: RouteTable.Route) -> Serve {
        switch route.metric {
        case .push: { request, _ in try await push.respond(to: request) }
        case .batch: { try await bulk.respond(to: $0, $1) }
        case .status: { _, context in try await status.one(context.parameters.get("msg_id")) }
        case .query: { request, _ in try await status.many(request) }
        case .cancel where route.method == .delete:
            { _, context in try await control.cancelOne(context.parameters.get("msg_id"), context) }
        case .cancel: { try await control.cancelMany($0, $1) }
        case .apps: { _, _ in try await control.list() }
        case .pause:
            { _, context in
                try await control.setPaused(route.path.hasSuffix("/pause"), context.parameters.get("app"), context)
            }
        case .deadLetters: deadLetterHandler(for: route)
        case .codes: { _, _ in Self.response("application/json", Self.codes) }
        case .probe where route.path == "/healthz": { _, _ in Self.response("text/plain", "ok\n") }
        case .probe: { _, _ in try ready() }
        case .metrics: { _, _ in Self.response(MetricsRegistry.contentType, registry.exposition()) }
        case .index, .other: { _, _ in Self.response("text/plain; charset=utf-8", RouteTable.index) }
        }
    }

    private func deadLetterHandler(for route: RouteTable.Route) -> Serve {
        if route.path.hasSuffix("/replay") { return { try await deadLetters.replay($0, $1) } }
        if route.path.hasSuffix("/purge") { return { try await deadLetters.purge($0, $1) } }
        if route.path.hasSuffix("}") {
            return { _, context in try await deadLetters.show(context.parameters.get("msg_id")) }
        }
        return { request, _ in try await deadLetters.list(request) }
    }

    private static let codes = String(decoding: ResponseJSON.codes(), as: UTF8.self)

    private static func response(_ contentType: String, _ text: String) -> Response {
        Response(status: .ok, headers: [.contentType: contentType], body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    private func ready() throws -> Response {
        let reasons = stopFlag.isSet ? ["stopping"] : readiness()
        guard reasons.isEmpty else {
            var problem = Problem(.serviceUnavailable, nil, reasons.joined(separator: "; "))
            problem.headers[.retryAfter] = "1"
            throw problem
        }
        return Self.response("text/plain", "ready\n")
    }
}
