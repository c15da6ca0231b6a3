import Hummingbird
import PushModel

/// The middleware of each route: its rate limit, and admission control for routes that accept pushes.
///
/// Routes of one group share a limiter.
struct RouteMiddleware: Sendable {
    typealias Handler = @Sendable (Request, AcceptContext) async throws -> Response

    private let limits: [AcceptMetrics.Route: RateLimitMiddleware]
    private let admission: AdmissionMiddleware

    init(
        limits: RateLimits, admission: AdmissionController, metrics: AcceptMetrics,
        clock: @escaping @Sendable () -> Duration
    ) {
        func limit(_ name: String, _ limit: RateLimit?) -> RateLimitMiddleware? {
            limit.map {
                RateLimitMiddleware(limiter: RouteLimiter(name: name, limit: $0, clock: clock), metrics: metrics)
            }
        }
        let status = limit("status", limits.status)
        let control = limit("control", limits.control)
        var byRoute: [AcceptMetrics.Route: RateLimitMiddleware] = [:]
        byRoute[.push] = limit("push", limits.push)
        let batch = limit("batch", limits.batch)
        byRoute[.batch] = batch
        byRoute[.validate] = batch
        for route in [AcceptMetrics.Route.status, .query, .search] { byRoute[route] = status }
        for route in [AcceptMetrics.Route.cancel, .apps, .pause, .deadLetters] { byRoute[route] = control }
        self.limits = byRoute
        self.admission = AdmissionMiddleware(admission: admission, metrics: metrics)
    }

    /// `handler` behind the middleware of `route`. The rate limit is outermost, so that its fields are on every
    /// response.
    func wrap(_ handler: @escaping Handler, for route: AcceptMetrics.Route) -> Handler {
        var wrapped = handler
        if route == .push || route == .batch {
            let (admission, next) = (admission, wrapped)
            wrapped = { try await admission.handle($0, context: $1, next: next) }
        }
        if let limit = limits[route] {
            let next = wrapped
            wrapped = { try await limit.handle($0, context: $1, next: next) }
        }
        return wrapped
    }
}
