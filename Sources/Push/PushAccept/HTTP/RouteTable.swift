import Hummingbird

/// Every route of accept: what the router is made of, what `405` lists in `Allow`, and what `GET /` prints.
struct RouteTable: Sendable {
    /// Which bodies may take as long as they like, as long as something comes.
    enum Streaming: Sendable {
        case never, ofLines, always
    }

    struct Route: Sendable {
        var method: HTTPRequest.Method
        /// With `{name}` for a component that varies.
        var path: String
        var about: String
        var metric: AcceptMetrics.Route
        var streaming = Streaming.never
    }

    static let all: [Route] = [
        Route(method: .post, path: "/push", about: "one push", metric: .push),
        Route(method: .post, path: "/api/v1/push", about: "one push", metric: .push),
        Route(
            method: .post, path: "/push/batch", about: "many pushes: a JSON array or NDJSON", metric: .batch,
            streaming: .always
        ),
        Route(
            method: .post, path: "/api/v1/push/batch", about: "many pushes: a JSON array or NDJSON", metric: .batch,
            streaming: .always
        ),
        Route(method: .get, path: "/api/v1/messages/{msg_id}", about: "what became of a push", metric: .status),
        Route(method: .delete, path: "/api/v1/messages/{msg_id}", about: "cancels a push", metric: .cancel),
        Route(
            method: .post, path: "/api/v1/messages/query", about: "what became of many pushes", metric: .query,
            streaming: .ofLines
        ),
        Route(
            method: .post, path: "/api/v1/messages/cancel", about: "cancels by ids, by request or by app",
            metric: .cancel
        ),
        Route(method: .get, path: "/api/v1/apps", about: "the apps, and what waits for them", metric: .apps),
        Route(method: .post, path: "/api/v1/apps/{app}/pause", about: "keeps an app's pushes waiting", metric: .pause),
        Route(method: .post, path: "/api/v1/apps/{app}/resume", about: "lets them go on", metric: .pause),
        Route(
            method: .get, path: "/api/v1/dead-letters", about: "pushes that were given up", metric: .deadLetters
        ),
        Route(method: .get, path: "/api/v1/dead-letters/{msg_id}", about: "one of them", metric: .deadLetters),
        Route(
            method: .post, path: "/api/v1/dead-letters/replay", about: "sends them again", metric: .deadLetters
        ),
        Route(method: .post, path: "/api/v1/dead-letters/purge", about: "forgets them", metric: .deadLetters),
        Route(method: .get, path: "/api/v1/codes", about: "the error codes", metric: .codes),
        Route(method: .get, path: "/healthz", about: "whether the process is alive", metric: .probe),
        Route(method: .get, path: "/readyz", about: "whether it takes pushes", metric: .probe),
        Route(method: .get, path: "/metrics", about: "Prometheus metrics", metric: .metrics),
        Route(method: .get, path: "/", about: "this list", metric: .index),
    ]

    /// The metric label of the route that Hummingbird found; `path` is as it was registered.
    static func metric(of method: HTTPRequest.Method, path: String?) -> AcceptMetrics.Route {
        guard let path else { return .other }
        return metrics[Key(method: method == .head ? .get : method, path: path)] ?? .other
    }

    /// Whether a request that is refused there is a push that is refused.
    static func takesPushes(_ method: HTTPRequest.Method, path: String?) -> Bool {
        switch metric(of: method, path: path) {
        case .push, .batch: true
        default: false
        }
    }

    private struct Key: Hashable {
        var method: HTTPRequest.Method
        var path: String
    }

    private static let metrics = Dictionary(
        uniqueKeysWithValues: all.map { (Key(method: $0.method, path: $0.path), $0.metric) }
    )
    private static let streaming = Dictionary(
        uniqueKeysWithValues: all.filter { $0.streaming != .never }.map { ($0.path, $0.streaming) }
    )

    /// Whether the body of a request may take as long as it likes. One with an `Idempotency-Key` is held whole.
    static func isStreaming(_ path: Substring, _ fields: HTTPFields) -> Bool {
        switch streaming[String(path)] {
        case .always: fields[.idempotencyKey] == nil
        case .ofLines: BodyFormat.isLines(fields[.contentType])
        case .never, nil: false
        }
    }

    /// The methods that some route takes at `path`, empty when there is no route. A route of exactly this path hides
    /// those with components that vary, as in the router.
    static func methods(at path: String) -> [HTTPRequest.Method] {
        let wanted = path.split(separator: "/")
        let matching = all.filter { route in
            let parts = route.path.split(separator: "/")
            return parts.count == wanted.count && zip(parts, wanted).allSatisfy { $0 == $1 || $0.hasPrefix("{") }
        }
        let exact = matching.filter { $0.path.split(separator: "/") == wanted }
        return (exact.isEmpty ? matching : exact).flatMap { $0.method == .get ? [.get, .head] : [$0.method] }
    }

    static var index: String {
        let starts = all.map { "\($0.method.rawValue) \($0.path)" }
        let width = (starts.map(\.count).max() ?? 0) + 2
        var text = "Godwit: a gateway for Apple Push Notification service\n\n"
        for (route, start) in zip(all, starts) {
            text += start + String(repeating: " ", count: width - start.count) + route.about + "\n"
        }
        return text
    }
}
