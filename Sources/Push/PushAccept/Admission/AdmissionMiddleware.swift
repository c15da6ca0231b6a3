import HTTPTypes
import Hummingbird
import PushModel

/// What a request must pass before its body is read: the limit of its caller, and for new pushes admission.
struct AdmissionMiddleware: Sendable {
    let limiter: RouteLimiter?
    let admission: AdmissionController?
    let metrics: AcceptMetrics

    /// - Throws: 429 or 503, and what `serve` throws; with the fields of the limit, as every answer of a limited route.
    func pass(
        _ request: Request, _ context: AcceptContext, serve: () async throws -> Response
    ) async throws -> Response {
        guard let limiter else {
            try admit()
            return try await serve()
        }
        let fields: HTTPFields
        do {
            fields = try limiter.admit(Caller.limitKey(of: request, context))
        } catch {
            metrics.rateLimited()
            throw error
        }
        do {
            try admit()
            var response = try await serve()
            response.headers.append(contentsOf: fields)
            return response
        } catch var problem as Problem {
            problem.headers.append(contentsOf: fields)
            throw problem
        }
    }

    private func admit() throws(Problem) {
        guard let refusal = admission?.refusal else { return }
        metrics.shed(refusal)
        throw Problem(refusal)
    }
}

/// The doors of all routes; paths of one group share one limit.
struct RequestMiddleware: Sendable {
    private let doors: [AcceptMetrics.Route: AdmissionMiddleware]

    init(
        limits: RateLimits, admission: AdmissionController, metrics: AcceptMetrics,
        clock: @escaping @Sendable () -> Duration
    ) {
        func limiter(_ name: String, _ limit: RateLimit?) -> RouteLimiter? {
            limit.map { RouteLimiter(name: name, limit: $0, clock: clock) }
        }
        let status = limiter("status", limits.status)
        let control = limiter("control", limits.control)
        var doors: [AcceptMetrics.Route: AdmissionMiddleware] = [:]
        doors[.push] = AdmissionMiddleware(
            limiter: limiter("push", limits.push), admission: admission, metrics: metrics)
        doors[.batch] = AdmissionMiddleware(
            limiter: limiter("batch", limits.batch), admission: admission, metrics: metrics)
        if let status {
            for route in [AcceptMetrics.Route.status, .query] {
                doors[route] = AdmissionMiddleware(limiter: status, admission: nil, metrics: metrics)
            }
        }
        if let control {
            for route in [AcceptMetrics.Route.cancel, .apps, .pause, .deadLetters] {
                doors[route] = AdmissionMiddleware(limiter: control, admission: nil, metrics: metrics)
            }
        }
        self.doors = doors
    }

    /// nil: there is nothing to pass.
    func door(of route: AcceptMetrics.Route) -> AdmissionMiddleware? { doors[route] }
}
