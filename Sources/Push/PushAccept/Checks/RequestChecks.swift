import HTTPTypes
import PushModel

/// The checks of requests, in the order in which they run: one list for every way in.
///
/// Routes of one group share a limiter.
struct RequestChecks: Sendable {
    private let callers: CallerResolver
    private let ofEveryRequest: [any RequestCheck]
    private let byRoute: [[any RequestCheck]]

    /// - Parameter clock: monotonic.
    init(
        configuration: AcceptConfiguration, admission: AdmissionController, held: HeldBytes, metrics: AcceptMetrics,
        clock: @escaping @Sendable () -> Duration
    ) {
        callers = CallerResolver(trustedProxies: configuration.trustedProxies)
        ofEveryRequest =
            [HostCheck(listener: configuration.host, names: configuration.hosts)].compactMap(\.self)
            + [OriginCheck(names: configuration.hosts)]
        let limits = configuration.rateLimits
        func limit(_ name: String, _ limit: RateLimit?) -> [any RequestCheck] {
            guard let limit else { return [] }
            return [RateLimitCheck(limiter: RouteLimiter(name: name, limit: limit, clock: clock), metrics: metrics)]
        }
        let status = limit("status", limits.status)
        let apps = limit("control", limits.control)
        let control = apps + [ContentTypeCheck()]
        let bytes: [any RequestCheck] = [
            HeldBytesCheck(held: held, retryAfter: configuration.retryAfterSeconds, metrics: metrics)
        ]
        let load = bytes + [AdmissionCheck(admission: admission, metrics: metrics)]
        // The rate limit comes first, so that its fields are on every response of the route.
        let push = limit("push", limits.push) + load
        let batchLimit = limit("batch", limits.batch)
        let batch = batchLimit + load
        byRoute = AcceptMetrics.Route.allCases.map { route in
            switch route {
            case .push: push
            case .batch: batch
            // It stores nothing.
            case .validate: batchLimit + bytes
            case .status, .query, .search: status + bytes
            case .apps: apps
            case .cancel, .pause, .deadLetters: control
            case .codes, .probe, .metrics, .index, .other: []
            }
        }
    }

    /// The head of a request, with its caller.
    ///
    /// - Parameter peer: the address of the connection.
    func head(_ request: HTTPRequest, peer: ClientAddress?) -> RequestHead {
        RequestHead(request, caller: callers.caller(of: request.headerFields, peer: peer))
    }

    /// Runs the checks of every request, whether or not there is a route for it.
    ///
    /// - Returns: the refusal; nil if the request is admitted.
    func refusal(of head: RequestHead, _ fields: inout HTTPFields) -> Problem? {
        Self.run(ofEveryRequest, head, &fields)
    }

    /// Runs the checks of `route`, after those of every request.
    ///
    /// - Parameter fields: receives the fields that every response of the request has, a refusal as well.
    /// - Returns: the refusal; nil if the request is admitted.
    func refusal(
        of head: RequestHead, to route: AcceptMetrics.Route, _ fields: inout HTTPFields
    ) -> Problem? {
        Self.run(byRoute[route.index], head, &fields)
    }

    private static func run(_ checks: [any RequestCheck], _ head: RequestHead, _ fields: inout HTTPFields) -> Problem? {
        do {
            for check in checks { try check.check(head, &fields) }
            return nil
        } catch {
            return error
        }
    }
}
