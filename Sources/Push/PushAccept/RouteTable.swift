import Hummingbird

/// Every route of accept: what the router is made of, what `405` lists in `Allow`, and what `GET /` prints.
struct RouteTable: Sendable {
    struct Route: Sendable {
        var method: HTTPRequest.Method
        /// With `{name}` for a component that varies.
        var path: String
        var about: String
        var metric: AcceptMetrics.Route
        /// The body may take as long as it likes, as long as something comes.
        var isStreaming = false
    }

    static let all: [Route] = [
        Route(method: .post, path: "/push", about: "one push", metric: .push),
        Route(method: .post, path: "/api/v1/push", about: "one push", metric: .push),
        Route(
            method: .post, path: "/push/batch", about: "many pushes: a JSON array or NDJSON", metric: .batch,
            isStreaming: true
        ),
        Route(
            method: .post, path: "/api/v1/push/batch", about: "many pushes: a JSON array or NDJSON", metric: .batch,
            isStreaming: true
        ),
        Route(method: .get, path: "/api/v1/messages/{msg_id}", about: "what became of a push", metric: .status),
        Route(
            method: .post, path: "/api/v1/messages/query", about: "what became of many pushes", metric: .query,
            isStreaming: true
        ),
        Route(method: .get, path: "/api/v1/codes", about: "the error codes", metric: .codes),
        Route(method: .get, path: "/healthz", about: "whether the process is alive", metric: .probe),
        Route(method: .get, path: "/readyz", about: "whether it takes pushes", metric: .probe),
        Route(method: .get, path: "/metrics", about: "Prometheus metrics", metric: .metrics),
        Route(method: .get, path: "/", about: "this list", metric: .index),
    ]

    /// The metric label of the route that Hummingbird found; `path` is as it was registered.
    static func metric(ofPath path: String?) -> AcceptMetrics.Route {
        path.flatMap { metrics[$0] } ?? .other
    }

    private static let metrics = Dictionary(all.map { ($0.path, $0.metric) }) { first, _ in first }
    private static let streamingPaths = Set(all.filter(\.isStreaming).map(\.path))

    static func isStreaming(_ path: Substring) -> Bool { streamingPaths.contains(String(path)) }

    /// The methods that some route takes at `path`, empty when there is no route.
    static func methods(at path: String) -> [HTTPRequest.Method] {
        let wanted = path.split(separator: "/")
        var methods: [HTTPRequest.Method] = []
        for route in all {
            let parts = route.path.split(separator: "/")
            guard parts.count == wanted.count,
                zip(parts, wanted).allSatisfy({ $0 == $1 || $0.hasPrefix("{") })
            else { continue }
            if route.method == .get { methods += [.get, .head] } else { methods.append(route.method) }
        }
        return methods
    }

    static var index: String {
        var text = "Godwit: a gateway for Apple Push Notification service\n\n"
        for route in all {
            let start = "\(route.method.rawValue) \(route.path)"
            text += start + String(repeating: " ", count: max(1, 36 - start.count)) + route.about + "\n"
        }
        return text
    }
}
