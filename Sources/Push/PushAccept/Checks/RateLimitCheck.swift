import HTTPTypes
import PushModel

/// Refuses requests of a caller that exceeds the rate limit of the route, with 429 and `Retry-After`.
///
/// Every response of the route has the `RateLimit` fields.
struct RateLimitCheck: RequestCheck {
    let limiter: RouteLimiter
    let metrics: AcceptMetrics

    func check(_ head: RequestHead, _ fields: inout HTTPFields) throws(Problem) {
        let (limitFields, refusal) = limiter.admit(head.caller.limitKey)
        fields.append(contentsOf: limitFields)
        guard let refusal else { return }
        metrics.rateLimited()
        throw refusal
    }
}
