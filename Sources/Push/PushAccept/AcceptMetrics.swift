import PushModel
package import Telemetry

/// The metrics of acceptance.
package struct AcceptMetrics: Sendable {
    /// The routes, as labels of metrics.
    package enum Route: String, Sendable, CaseIterable {
        case push, batch, validate, status, query, search, cancel, apps, pause, codes, probe, metrics, index, other
        case deadLetters = "dead_letters"

        var index: Int { AcceptMetrics.routeIndexes[self]! }

        /// Whether the route is for health, metrics or control.
        var isServedUnderPressure: Bool {
            switch self {
            case .probe, .metrics, .cancel, .apps, .pause, .deadLetters: true
            case .push, .batch, .validate, .status, .query, .search, .codes, .index, .other: false
            }
        }
    }

    private static let codes = ErrorCode.allCases.filter { $0 != .none }
    private static let codeIndexes = Dictionary(uniqueKeysWithValues: codes.enumerated().map { ($1, $0) })
    private static let statusClasses = ["2xx", "4xx", "5xx"]
    private static let sheds = AdmissionRefusal.allCases.map(\.label) + ["responses", "held", "rate"]

    private let accepted: LabelledMetrics<Counter>
    private let refused: LabelledMetrics<Counter>
    private let unknown: Counter
    private let requests: LabelledMetrics<Counter>
    private let shed: LabelledMetrics<Counter>
    private let replayed: Counter
    private let appendSeconds: Histogram
    private let appendFailures: Counter
    private let batchPushes: Histogram

    package init(registry: MetricsRegistry) {
        accepted = registry.counters(
            "godwit_accept_pushes_total", help: "Pushes made durable and accepted.",
            labels: [MetricLabel("lane", Lane.allCases.map(\.label))]
        )
        refused = registry.counters(
            "godwit_accept_refused_total",
            help: "Refused pushes, by error code. A request that is refused unread counts as one.",
            labels: [MetricLabel("code", Self.codes.map { String($0.rawValue) })]
        )
        unknown = registry.counter(
            "godwit_accept_unknown_total", help: "Pushes for which the store did not confirm the write."
        )
        requests = registry.counters(
            "godwit_accept_requests_total", help: "HTTP requests, by route and class of status.",
            labels: [
                MetricLabel("route", Route.allCases.map(\.rawValue)), MetricLabel("status", Self.statusClasses),
            ]
        )
        shed = registry.counters(
            "godwit_accept_shed_total",
            help: "Requests refused unread, by the exhausted resource or limit, or by the rate limit of the caller.",
            labels: [MetricLabel("reason", Self.sheds)]
        )
        replayed = registry.counter(
            "godwit_accept_replayed_total", help: "Requests that received the stored response of their Idempotency-Key."
        )
        appendSeconds = registry.histogram(
            "godwit_accept_append_seconds", help: "Duration of one durable write of new batches.",
            bounds: Histogram.latencyBounds
        )
        appendFailures = registry.counter(
            "godwit_accept_append_failures_total", help: "Failed writes of new batches."
        )
        batchPushes = registry.histogram(
            "godwit_accept_batch_pushes", help: "Pushes in each batch made durable.",
            bounds: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
        )
    }

    func appended(_ batches: [Batch], in duration: Duration) {
        appendSeconds.observe(duration)
        for batch in batches {
            batchPushes.observe(Double(batch.count))
            accepted[Int(batch.lane.rawValue)].increment(by: batch.count)
        }
    }

    func appendFailed() { appendFailures.increment() }

    func refused(_ code: ErrorCode, pushes: Int = 1) {
        if let index = Self.codeIndexes[code] { refused[index].increment(by: pushes) }
    }

    /// Counts a problem that a route responds with.
    func refused(_ problem: Problem, on route: Route) {
        guard route == .push || route == .batch, let code = problem.code else { return }
        refused(code, pushes: problem.refusedPushes)
    }

    func shed(_ refusal: AdmissionRefusal) { shed[Self.sheds.firstIndex(of: refusal.label)!].increment() }

    func shedForStoredResponses() { shed[Self.sheds.count - 3].increment() }

    func shedForHeldBytes() { shed[Self.sheds.count - 2].increment() }

    func rateLimited() { shed[Self.sheds.count - 1].increment() }

    func responseReplayed() { replayed.increment() }

    func outcomeUnknown(pushes: Int) { unknown.increment(by: pushes) }

    func responded(_ route: Route, status: Int) {
        let statusClass = status < 400 ? 0 : status < 500 ? 1 : 2
        requests[route.index, statusClass].increment()
    }

    private static let routeIndexes = Dictionary(uniqueKeysWithValues: Route.allCases.enumerated().map { ($1, $0) })
}
