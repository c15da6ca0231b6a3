import Hummingbird

/// All routes: the source of the router, of `Allow` in 405 responses, and of `GET /`.
struct RouteTable: Sendable {
    /// Which bodies have no time limit, apart from the idle timeout.
    enum Streaming: Sendable {
        case never, ofLines, always
    }

    struct Route: Sendable {
        var method: HTTPRequest.Method
        /// A variable component is written as `{name}`.
        var path: String
        var summary: String
        var metric: AcceptMetrics.Route
        var streaming = Streaming.never
    }

    static let all: [Route] = [
        Route(method: .post, path: "/push", summary: "accept one push", metric: .push),
        Route(method: .post, path: "/api/v1/push", summary: "accept one push", metric: .push),
        Route(
            method: .post, path: "/push/batch", summary: "accept many pushes: a JSON array or NDJSON", metric: .batch,
            streaming: .always
        ),
        Route(
            method: .post, path: "/api/v1/push/batch", summary: "accept many pushes: a JSON array or NDJSON",
            metric: .batch,
            streaming: .always
        ),
        Route(
            method: .post, path: "/api/v1/push/validate", summary: "check pushes without sending them",
            metric: .validate
        ),
        Route(method: .get, path: "/api/v1/messages", summary: "search for pushes", metric: .search),
        Route(
            method: .post, path: "/api/v1/messages/search", summary: "search for pushes; keeps tokens out of URLs",
            metric: .search
        ),
        Route(method: .get, path: "/api/v1/messages/{msg_id}", summary: "state of a push", metric: .status),
        Route(method: .delete, path: "/api/v1/messages/{msg_id}", summary: "cancel a push", metric: .cancel),
        Route(
            method: .post, path: "/api/v1/messages/query", summary: "states of many pushes", metric: .query,
            streaming: .ofLines
        ),
        Route(
            method: .post, path: "/api/v1/messages/cancel", summary: "cancel pushes by id, request or app",
            metric: .cancel
        ),
        Route(method: .get, path: "/api/v1/apps", summary: "apps and their waiting pushes", metric: .apps),
        Route(
            method: .post, path: "/api/v1/apps/{app}/pause", summary: "pause an app: its pushes wait", metric: .pause),
        Route(method: .post, path: "/api/v1/apps/{app}/resume", summary: "resume an app", metric: .pause),
        Route(
            method: .get, path: "/api/v1/dead-letters", summary: "list pushes that were given up", metric: .deadLetters
        ),
        Route(method: .get, path: "/api/v1/dead-letters/{msg_id}", summary: "one dead letter", metric: .deadLetters),
        Route(
            method: .post, path: "/api/v1/dead-letters/replay", summary: "send dead letters again", metric: .deadLetters
        ),
        Route(method: .post, path: "/api/v1/dead-letters/purge", summary: "delete dead letters", metric: .deadLetters),
        Route(method: .get, path: "/api/v1/codes", summary: "error codes", metric: .codes),
        Route(method: .get, path: "/healthz", summary: "liveness of the process", metric: .probe),
        Route(method: .get, path: "/readyz", summary: "readiness of the instance", metric: .probe),
        Route(method: .get, path: "/metrics", summary: "Prometheus metrics", metric: .metrics),
        Route(method: .get, path: "/", summary: "this list", metric: .index),
    ]

    /// The metric label of a route.
    ///
    /// - Parameter path: as it was registered with the router.
    static func metric(of method: HTTPRequest.Method, path: String?) -> AcceptMetrics.Route {
        guard let path else { return .other }
        return metrics[Key(method: method == .head ? .get : method, path: path)] ?? .other
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

    /// Whether the body of a request has no time limit. A body with an `Idempotency-Key` is buffered and has one.
    static func isStreaming(_ path: Substring, _ fields: HTTPFields) -> Bool {
        switch streaming[String(path)] {
        case .always: fields[.idempotencyKey] == nil
        case .ofLines: BodyFormat.isLines(fields[.contentType])
        case .never, nil: false
        }
    }

    /// The methods of the routes that match `path`; empty if none does. As in the router, a literal path hides routes
    /// with variable components.
    static func methods(at path: String) -> [HTTPRequest.Method] {
        routes(at: path).flatMap { $0.method == .get ? [.get, .head] : [$0.method] }
    }

    private static func routes(at path: String) -> [Route] {
        let wanted = path.split(separator: "/")
        let matching = all.filter { route in
            let parts = route.path.split(separator: "/")
            return parts.count == wanted.count && zip(parts, wanted).allSatisfy { $0 == $1 || $0.hasPrefix("{") }
        }
        let exact = matching.filter { $0.path.split(separator: "/") == wanted }
        return exact.isEmpty ? matching : exact
    }

    /// Whether a request is for health, metrics or control, which are served when too many connections are open.
    static func isServedUnderPressure(_ method: HTTPRequest.Method, path: Substring) -> Bool {
        let method = method == .head ? .get : method
        return routes(at: String(path)).contains { $0.method == method && $0.metric.isServedUnderPressure }
    }

    static var index: String {
        let starts = all.map { "\($0.method.rawValue) \($0.path)" }
        let width = (starts.map(\.count).max() ?? 0) + 2
        var text = "Godwit: a gateway for Apple Push Notification service\n\n"
        for (route, start) in zip(all, starts) {
            text += start + String(repeating: " ", count: width - start.count) + route.summary + "\n"
        }
        return text
    }
}
