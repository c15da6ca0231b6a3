import PushModel

/// Whether the pushes of an app may be sent.
enum SendPermit: Equatable {
    case open
    /// At most this many, as probes of a breaker or credential.
    case probes(Int)
    /// Probes are in flight; their answers decide.
    case pending
    /// Not soon: unsent batches return to the store.
    case closed
}

/// A change of an endpoint's breaker, which concerns all apps of the endpoint.
package struct EndpointChange: Sendable, Equatable {
    let endpoint: Int
    let name: String
    let change: Breaker.Change
    let state: Breaker.State
}

/// An APNs endpoint, as its apps share it.
struct Endpoint: Sendable {
    let name: String
    var appCount = 0
    var breaker: Breaker
    /// When each app last had a window that shows that the endpoint works.
    var healthyAt: [Int: Duration] = [:]
    /// Apps that had retries to send of late: they share the retry budget.
    var retryingApps = 0

    init(name: String, settings: Breaker.Settings) {
        self.name = name
        breaker = Breaker(settings: settings)
    }

    /// Whether the endpoint has more than one app.
    var isShared: Bool { appCount > 1 }
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
        switch endpoints[index].breaker.state {
        case .closed: return .open
        case .open: return .closed
        case .halfOpen:
            let probes = endpoints[index].breaker.probesLeft(for: number, isShared: endpoints[index].isShared)
            return probes == 0 ? .pending : .probes(probes)
        }
    }

    /// Counts the pushes of a send as probes, if the endpoint's breaker is half open.
    mutating func probed(_ ticket: UInt64, count: Int, by number: Int, now: Duration) {
        let index = apps[number].endpoint
        guard endpoints[index].breaker.state == .halfOpen else { return }
        endpoints[index].breaker.probe(ticket, count: count, group: number, now: now)
    }

    /// The time until the endpoint's breaker sends probes, zero while it does; nil if it is closed or about to close.
    func timeUntilProbes(of number: Int, now: Duration) -> Duration? {
        let index = apps[number].endpoint
        guard endpoints[index].breaker.state != .closed, !endpoints[index].breaker.hasOnlyGoodProbes else {
            return nil
        }
        return endpoints[index].breaker.remainingOpenTime(now: now) ?? .zero
    }

    func breakerState(of number: Int) -> Breaker.State { endpoints[apps[number].endpoint].breaker.state }

    /// The apps of the same endpoint that had retries to send of late.
    func retryingApps(with number: Int) -> Int { endpoints[apps[number].endpoint].retryingApps }

    /// Updates the endpoint's breaker with the answers to one send.
    ///
    /// The breaker opens if calls fail and no app shows that the endpoint works; otherwise the fault belongs to the app.
    ///
    /// - Parameter isHealthy: whether the window of the app shows that the endpoint works.
    /// - Returns: nil if the state has not changed.
    mutating func answered(
        _ classification: AnswerClassification, by number: Int, isHealthy: Bool, now: Duration
    ) -> EndpointChange? {
        let index = apps[number].endpoint
        let tally = classification.tally
        let bad = tally.calls - tally.good
        endpoints[index].healthyAt[number] = isHealthy ? now : nil
        endpoints[index].breaker.record(tally, now: now)
        var change = Breaker.Change.none
        if endpoints[index].breaker.state == .halfOpen {
            change = endpoints[index].breaker.answered(
                classification.ticket, good: tally.good, bad: bad, void: classification.count - tally.calls,
                isShared: endpoints[index].isShared, now: now, jitter: generator.nextUnit()
            )
        } else if bad > 0, endpoints[index].breaker.isFailing(now: now), !hasHealthyApp(endpoints[index], now: now) {
            endpoints[index].breaker.open(now: now, jitter: generator.nextUnit())
            endpoints[index].healthyAt = [:]
            change = .opened
        }
        return endpointChange(index, change)
    }

    private func hasHealthyApp(_ endpoint: Endpoint, now: Duration) -> Bool {
        endpoint.healthyAt.values.contains { now - $0 < endpoint.breaker.settings.window }
    }

    /// Applies the passage of time to the breakers of all endpoints.
    mutating func advance(now: Duration) -> [EndpointChange] {
        endpoints.indices.compactMap { index in
            endpointChange(index, endpoints[index].breaker.advance(now: now, jitter: generator.nextUnit()))
        }
    }

    private func endpointChange(_ index: Int, _ change: Breaker.Change) -> EndpointChange? {
        guard change != .none else { return nil }
        let endpoint = endpoints[index]
        return EndpointChange(endpoint: index, name: endpoint.name, change: change, state: endpoint.breaker.state)
    }
}
