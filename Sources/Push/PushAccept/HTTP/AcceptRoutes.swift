import HTTPTypes
import Hummingbird
import JSONText
import NIOCore
import PushModel
import Telemetry

/// Maps each route to its handler, behind the checks of the route.
struct AcceptRoutes: Sendable {
    let push: PushRoute
    let bulk: BulkRoute
    let validate: ValidateRoute
    let status: StatusRoutes
    let search: SearchRoutes
    let control: ControlRoutes
    let deadLetters: DeadLetterRoutes
    let checks: RequestChecks
    let readiness: @Sendable () -> [String]
    let notices: @Sendable () -> [String]
    let stopFlag: StopFlag
    let registry: MetricsRegistry

    private typealias Handler = @Sendable (Request, AcceptContext) async throws -> Response

    func router() -> Router<AcceptContext> {
        let router = Router(context: AcceptContext.self, options: .autoGenerateHeadEndpoints)
        for route in RouteTable.all {
            let handler = checked(handler(for: route), route.metric)
            router.on(
                RouterPath(route.path), method: route.method, responder: CallbackResponder { try await handler($0, $1) }
            )
        }
        return router
    }

    private func checked(_ handler: @escaping Handler, _ route: AcceptMetrics.Route) -> Handler {
        { [checks] request, context in
            var fields: HTTPFields = [:]
            do {
                if let refusal = checks.refusal(of: context.head, to: route, &fields) { throw refusal }
                var response = try await handler(request, context)
                response.headers.append(contentsOf: fields)
                return response
            } catch var problem as Problem {
                problem.headers.append(contentsOf: fields)
                throw problem
            }
        }
    }

    private func handler(for route: RouteTable.Route) -> Handler {
        switch route.metric {
        case .push: { request, context in try await push.respond(to: request, context.head) }
        case .batch: { try await bulk.respond(to: $0, $1) }
        case .validate: { request, _ in try await validate.respond(to: request) }
        case .status: { _, context in try await status.show(context.parameters.get("msg_id")) }
        case .search where route.method == .get: { try await search.list($0, $1.head.caller) }
        case .search: { try await search.search($0, $1.head.caller) }
        case .query: { request, _ in try await status.query(request) }
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

    private func deadLetterHandler(for route: RouteTable.Route) -> Handler {
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
        // Accepted pushes are safe in the queue, so an outage of APNs is no reason to send pushes elsewhere.
        return Self.response("text/plain", (["ready"] + notices()).map { "\($0)\n" }.joined())
    }
}
