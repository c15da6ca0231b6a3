import HTTPTypes
import PushModel

/// The checks of requests, in the order in which they run: one list for every way in.
///
/// Routes of one group share a limiter.
struct RequestChecks: Sendable {
    private let byRoute: [[any RequestCheck]]

    /// - Parameter clock: monotonic.
    init(
        configuration: AcceptConfiguration, admission: AdmissionController, metrics: AcceptMetrics,
        clock: @escaping @Sendable () -> Duration
    ) {
        let limits = configuration.rateLimits
        func limit(_ name: String, _ limit: RateLimit?) -> [any RequestCheck] {
            guard let limit else { return [] }
            return [RateLimitCheck(limiter: RouteLimiter(name: name, limit: limit, clock: clock), metrics: metrics)]
        }
        let status = limit("status", limits.status)
        let control = limit("control", limits.control)
        let load: [any RequestCheck] = [AdmissionCheck(admission: admission, metrics: metrics)]
        // The rate limit comes first, so that its fields are on every response of the route.
        let push = limit("push", limits.push) + load
        let batch = limit("batch", limits.batch) + load
        byRoute = AcceptMetrics.Route.allCases.map { route in
            switch route {
            case .push: push
            case .batch, .validate: batch
            case .status, .query, .search: status
            case .cancel, .apps, .pause, .deadLetters: control
            case .codes, .probe, .metrics, .index, .other: []
            }
        }
    }

    /// Runs the checks of `route`.
    ///
    /// - Parameter fields: receives the fields that every response of the request has, a refusal as well.
    /// - Returns: the refusal; nil if the request is admitted.
    func refusal(
        of head: RequestHead, to route: AcceptMetrics.Route, _ fields: inout HTTPFields
    ) -> Problem? {
        do {
            for check in byRoute[route.index] { try check.check(head, &fields) }
            return nil
        } catch {
            return error
        }
    }
}
