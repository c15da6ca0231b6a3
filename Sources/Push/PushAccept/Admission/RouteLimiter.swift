import HTTPTypes
import PushModel
import Synchronization

/// The limit of requests that each caller has on one group of routes.
final class RouteLimiter: Sendable {
    /// Callers that are told apart; past it those that ask the least are forgotten first.
    private static let callersMax = 16_384

    private let name: String
    private let limit: RateLimit
    private let limiter: Mutex<RateLimiter>
    private let policyField: String
    private let clock: @Sendable () -> Duration

    /// - Parameters:
    ///   - name: of the group, for the answer's fields: a plain word.
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
    /// - Returns: the fields of its answer, whatever it will be.
    /// - Throws: 429 when there were too many.
    func admit(_ caller: UInt64) throws(Problem) -> HTTPFields {
        let now = clock()
        switch limiter.withLock({ $0.acquire(caller, now: now) }) {
        case .pass(let remaining, let whole): return fields(remaining: remaining, seconds: whole.secondsRoundedUp)
        case .refuse(let retryAfter):
            let seconds = max(1, retryAfter.secondsRoundedUp)
            var problem = Problem(
                tooMany: "more than \(rateText) requests a second on this route; send it again in \(seconds) s",
                retryAfter: seconds
            )
            problem.headers.append(contentsOf: fields(remaining: 0, seconds: seconds))
            throw problem
        }
    }

    private var rateText: String {
        limit.perSecond == limit.perSecond.rounded() ? "\(Int(limit.perSecond))" : "\(limit.perSecond)"
    }

    /// `t` never lies behind `Retry-After`, as the draft asks for.
    private func fields(remaining: Int, seconds: Int) -> HTTPFields {
        [.rateLimitPolicy: policyField, .rateLimit: "\"\(name)\";r=\(remaining);t=\(seconds)"]
    }
}
