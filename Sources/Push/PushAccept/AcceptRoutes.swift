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
    let readiness: @Sendable () -> [String]
    let stopFlag: StopFlag
    let registry: MetricsRegistry

    func router() -> Router<BasicRequestContext> {
        let router = Router(context: BasicRequestContext.self, options: .autoGenerateHeadEndpoints)
        for route in RouteTable.all {
            router.on(RouterPath(route.path), method: route.method, responder: responder(for: route))
        }
        return router
    }

    private func responder(for route: RouteTable.Route) -> CallbackResponder<BasicRequestContext> {
        CallbackResponder { request, context in
            switch route.metric {
            case .push: return try await push.respond(to: request)
            case .batch: return try await bulk.respond(to: request)
            case .status: return try await status.one(context.parameters.get("msg_id"))
            case .query: return try await status.many(request)
            case .codes: return Self.response("application/json", Self.codes)
            case .probe: return route.path == "/healthz" ? Self.response("text/plain", "ok\n") : try ready()
            case .metrics: return Self.response(MetricsRegistry.contentType, registry.exposition())
            case .index, .other: return Self.response("text/plain; charset=utf-8", RouteTable.index)
            }
        }
    }

    private static let codes = String(decoding: Answers.codes(), as: UTF8.self)

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
