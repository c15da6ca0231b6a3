import PushModel

/// Whether the pushes of an app may be sent.
enum SendPermit: Equatable {
    case open
    /// As many as the ramp after an outage allows.
    case ramp
    /// Single pushes, as probes of a breaker or of the credential. The others wait in memory or in the store.
    case probes
    /// Not soon: unsent batches return to the store.
    case closed
}

/// A change of an endpoint's breaker, which concerns all apps of the endpoint.
package struct EndpointChange: Sendable, Equatable {
    let endpoint: Int
    let name: String
    let change: CircuitBreaker.Change
    let state: CircuitBreaker.State
    let cause: ErrorCode
}

/// An APNs endpoint, as its apps share it.
struct Endpoint: Sendable {
    let name: String
    var breaker: CircuitBreaker
    /// When the last call of each app was good, if it was.
    var healthyAt: [Int: Duration] = [:]
    /// The app that sent the last probe.
    var lastProber = -1
    /// Apps that had retries to send of late: they share the retry budget.
    var retryingApps = 0

    init(name: String, settings: CircuitBreaker.Settings) {
        self.name = name
        breaker = CircuitBreaker(settings: settings)
    }
}

extension SharedState {
    /// Sets the apps that had retries to send of late.
    mutating func setRetrying(_ numbers: [Int]) {
        for index in endpoints.indices { endpoints[index].retryingApps = 0 }
        for number in numbers { endpoints[apps[number].endpoint].retryingApps += 1 }
    }

    // MARK: Permits of endpoints

    /// Whether the app's endpoint lets pushes of the app pass.
    func permit(of number: Int) -> SendPermit {
        if isDraining { return .closed }
        // Not copied: asked for every batch.
        let index = apps[number].endpoint
        guard endpoints[index].breaker.state == .closed else { return .probes }
        return endpoints[index].breaker.isRamping ? .ramp : .open
    }

    /// Acquires as many of `wanted` sends as the ramp of the app's endpoint allows now.
    mutating func acquireRamp(_ wanted: Int, of number: Int, now: Duration) -> Int {
        let index = apps[number].endpoint
        let count = endpoints[index].breaker.capacity(for: wanted, now: now)
        endpoints[index].breaker.sent(count)
        return count
    }

    func breakerState(of number: Int) -> CircuitBreaker.State { endpoints[apps[number].endpoint].breaker.state }

    func health(of number: Int, now: Duration) -> UpstreamHealth {
        endpoints[apps[number].endpoint].breaker.health(now: now)
    }

    /// A copy of the breaker, for decisions about a probe.
    func breaker(of number: Int) -> CircuitBreaker { endpoints[apps[number].endpoint].breaker }

    /// The last failure of the endpoint; nil if its breaker is closed.
    func outageCause(of number: Int) -> ErrorCode? { endpoints[apps[number].endpoint].breaker.outageCause }

    /// The apps of the same endpoint that had retries to send of late.
    func retryingApps(with number: Int) -> Int { endpoints[apps[number].endpoint].retryingApps }

    /// Whether any endpoint limits sends after an outage.
    var hasRamp: Bool { endpoints.contains { $0.breaker.isRamping } }

    func rampRate(of number: Int, now: Duration) -> Double? {
        endpoints[apps[number].endpoint].breaker.rampRate(now: now)
    }

    // MARK: Probes

    /// How long a probe waits for the app whose turn it is.
    private static let turnTime: Duration = .milliseconds(500)

    /// Whether the app may send the next probe of its endpoint: the apps that have pushes take turns, so that an app
    /// whose pushes all fail does not hide that the others would succeed.
    func isTurn(of number: Int, now: Duration) -> Bool {
        let index = apps[number].endpoint
        let lastProber = endpoints[index].lastProber
        guard endpoints[index].breaker.state != .closed, lastProber >= 0,
            (.zero..<Self.turnTime).contains(endpoints[index].breaker.probeOverdue(now: now))
        else { return true }
        let waiting = apps.indices.lazy.filter { self.apps[$0].endpoint == index && self.apps[$0].demand.hasReady }
        let next = waiting.first { $0 > lastProber } ?? waiting.first { _ in true }
        return next == nil || next == number
    }

    /// A push of the app is sent as a probe, if the endpoint's breaker is open.
    mutating func probed(_ ticket: UInt64, token: UInt64, by number: Int, now: Duration) -> EndpointChange? {
        let index = apps[number].endpoint
        guard endpoints[index].breaker.state != .closed else { return nil }
        endpoints[index].lastProber = number
        // First, because the change is reported with the state after it.
        let change = endpoints[index].breaker.probe(
            ticket, token: token, app: number, now: now, jitter: generator.nextUnit())
        return endpointChange(index, change)
    }

    mutating func probeReverted(_ ticket: UInt64, of number: Int, now: Duration) {
        _ = endpoints[apps[number].endpoint].breaker.probeAnswered(ticket, .void, now: now)
    }

    // MARK: Answers

    /// Updates the endpoint's breaker with the answers to one send.
    ///
    /// The breaker opens if calls fail and no app shows that the endpoint works; otherwise the fault belongs to the app.
    ///
    /// - Parameters:
    ///   - isHealthy: whether the last call of the app was good.
    ///   - isOwnFault: whether failures of the app are known to be its own.
    /// - Returns: nil if the state has not changed.
    mutating func record(
        _ classification: AnswerClassification, by number: Int, isHealthy: Bool, isOwnFault: Bool, now: Duration
    ) -> EndpointChange? {
        let index = apps[number].endpoint
        endpoints[index].healthyAt[number] = isHealthy ? now : nil
        if endpoints[index].breaker.isProbing(classification.ticket) {
            let change = endpoints[index].breaker.probeAnswered(
                classification.ticket, classification.probeResult, now: now)
            return endpointChange(index, change)
        }
        let report = isOwnFault ? .good(classification.report.good) : classification.report
        endpoints[index].breaker.record(report, app: number, now: now)
        let window = endpoints[index].breaker.settings.window
        guard report.hasFailures, endpoints[index].breaker.isFailing(now: now),
            endpoints[index].breaker.isWithoutConnection
                || !endpoints[index].healthyAt.values.contains(where: { now - $0 < window })
        else { return nil }
        endpoints[index].breaker.open(now: now, jitter: generator.nextUnit())
        endpoints[index].healthyAt = [:]
        endpoints[index].lastProber = -1
        return endpointChange(index, .opened)
    }

    /// Applies the passage of time to the breakers of all endpoints.
    mutating func advance(now: Duration) {
        for index in endpoints.indices { endpoints[index].breaker.advance(now: now) }
    }

    private func endpointChange(_ index: Int, _ change: CircuitBreaker.Change?) -> EndpointChange? {
        guard let change else { return nil }
        let endpoint = endpoints[index]
        return EndpointChange(
            endpoint: index, name: endpoint.name, change: change, state: endpoint.breaker.state,
            cause: endpoint.breaker.cause)
    }
}
