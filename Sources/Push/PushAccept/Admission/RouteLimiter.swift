import HTTPTypes
import PushModel
import Synchronization

/// The rate limit of each caller on one group of routes.
final class RouteLimiter: Sendable {
    /// Callers counted individually. Beyond it, the least active ones are dropped, and start again with a full burst.
    private static let callersMax = 16_384

    private let name: String
    private let limit: RateLimit
    private let limiter: Mutex<RateLimiter>
    private let policyField: String
    private let clock: @Sendable () -> Duration

    /// - Parameters:
    ///   - name: of the group, in the fields of the response: letters only.
    ///   - clock: monotonic.
    init(name: String, limit: RateLimit, clock: @escaping @Sendable () -> Duration) {
        self.name = name
        self.limit = limit
        self.clock = clock
        limiter = Mutex(RateLimiter(limit: limit, keysMax: Self.callersMax))
        policyField = "\"\(name)\";q=\(limit.burst);w=\(max(1, limit.window.secondsRoundedUp))"
    }

    /// Counts a request of `caller`.
    ///
    /// - Returns: the fields of the response, and 429 if the caller exceeds the limit.
    func admit(_ caller: UInt64) -> (HTTPFields, refusal: Problem?) {
        let now = clock()
        switch limiter.withLock({ $0.acquire(caller, now: now) }) {
        case .pass(let remaining, let whole):
            return (fields(remaining: remaining, seconds: whole.secondsRoundedUp), nil)
        case .refuse(let retryAfter):
            let seconds = max(1, retryAfter.secondsRoundedUp)
            let problem = Problem(
                tooMany: "more than \(rateText) requests per second on this route; send it again in \(seconds) s",
                retryAfter: seconds
            )
            return (fields(remaining: 0, seconds: seconds), problem)
        }
    }

    private var rateText: String {
        limit.perSecond == limit.perSecond.rounded() ? "\(Int(limit.perSecond))" : "\(limit.perSecond)"
    }

    /// `t` is at least `Retry-After`, as the draft requires.
    private func fields(remaining: Int, seconds: Int) -> HTTPFields {
        [.rateLimitPolicy: policyField, .rateLimit: "\"\(name)\";r=\(remaining);t=\(seconds)"]
    }
}
