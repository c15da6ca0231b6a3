import HTTPTypes
import Hummingbird
import PushModel

/// Refuses requests of a caller that exceeds the rate limit of the route, before their body is read.
///
/// Adds the `RateLimit` fields to every response of the route, and to its problems.
struct RateLimitMiddleware: RouterMiddleware {
    let limiter: RouteLimiter
    let metrics: AcceptMetrics

    /// - Throws: 429 with `Retry-After`, and the errors of `next`.
    func handle(
        _ request: Request, context: AcceptContext,
        next: (Request, AcceptContext) async throws -> Response
    ) async throws -> Response {
        let fields: HTTPFields
        do {
            fields = try limiter.admit(Caller.limitKey(of: request, context))
        } catch {
            metrics.rateLimited()
            throw error
        }
        do {
            var response = try await next(request, context)
            response.headers.append(contentsOf: fields)
            return response
        } catch var problem as Problem {
            problem.headers.append(contentsOf: fields)
            throw problem
        }
    }
}
