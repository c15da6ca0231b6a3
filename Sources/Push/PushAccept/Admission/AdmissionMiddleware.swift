import Hummingbird
import PushModel

/// Refuses requests for new pushes before their body is read, while admission control refuses all apps.
struct AdmissionMiddleware: RouterMiddleware {
    let admission: AdmissionController
    let metrics: AcceptMetrics

    /// - Throws: 503 with `Retry-After`, and the errors of `next`.
    func handle(
        _ request: Request, context: AcceptContext,
        next: (Request, AcceptContext) async throws -> Response
    ) async throws -> Response {
        if let refusal = admission.refusal {
            metrics.shed(refusal)
            throw Problem(refusal)
        }
        return try await next(request, context)
    }
}
