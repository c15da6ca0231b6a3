package import PushModel
import PushStore

extension DispatchStateMachine {
    // MARK: Permits and breakers

    /// Whether pushes of the app may be sent now.
    func sendPermit(of index: Int, now: Duration) -> SendPermit {
        let endpointIndex = upstreams[index].endpointIndex
        guard !buffer.isDraining, !upstreams[index].isPaused, upstreams[index].breaker.state != .open,
            endpoints[endpointIndex].breaker.state != .open
        else { return .closed }
        var probes = Int.max
        if upstreams[index].credential.isRefused {
            guard upstreams[index].credential.isProbeDue(now: now) else {
                return upstreams[index].credential.isProbing ? .pending : .closed
            }
            probes = 1
        }
        if upstreams[index].breaker.state == .halfOpen { probes = min(probes, upstreams[index].breaker.probesLeft()) }
        if endpoints[endpointIndex].breaker.state == .halfOpen {
            probes = min(
                probes,
                endpoints[endpointIndex].breaker.probesLeft(for: index, isShared: endpoints[endpointIndex].isShared)
            )
        }
        return probes == .max ? .open : probes == 0 ? .pending : .probes(probes)
    }

    /// Counts the pushes of `ticket` as probes of the credential and of each breaker that is half open.
    mutating func probe(_ ticket: UInt64, of index: Int, count: Int, now: Duration) {
        let endpointIndex = upstreams[index].endpointIndex
        if upstreams[index].credential.isRefused { upstreams[index].credential.probe(ticket, now: now) }
        if upstreams[index].breaker.state == .halfOpen {
            upstreams[index].breaker.probe(ticket, count: count, now: now)
        }
        if endpoints[endpointIndex].breaker.state == .halfOpen {
            endpoints[endpointIndex].breaker.probe(ticket, count: count, group: index, now: now)
        }
    }

    /// Opens a breaker if calls fail. If calls of another app show that the endpoint is healthy, the fault belongs to
    /// this app and only its breaker opens; otherwise the endpoint's breaker opens for all of its apps.
    mutating func openIfFailing(_ index: Int, now: Moment, _ actions: inout DispatchActions) {
        let endpointIndex = upstreams[index].endpointIndex
        let time = now.monotonic
        if endpoints[endpointIndex].breaker.isFailing(now: time),
            !endpoints[endpointIndex].apps.contains(where: { upstreams[$0].breaker.isHealthy(now: time) })
        {
            endpoints[endpointIndex].breaker.open(now: time, jitter: generator.nextUnit())
            for app in endpoints[endpointIndex].apps { upstreams[app].breaker.clearWindow() }
            endpointBreakerChanged(endpointIndex, .opened, now: now, &actions)
        } else if upstreams[index].breaker.isFailing(now: time), endpoints[endpointIndex].breaker.state == .closed {
            upstreams[index].breaker.open(now: time, jitter: generator.nextUnit())
            appBreakerChanged(index, .opened, now: now, &actions)
        }
    }

    mutating func endpointBreakerChanged(
        _ endpointIndex: Int, _ change: Breaker.Change, now: Moment, _ actions: inout DispatchActions
    ) {
        guard change != .none else { return }
        actions.events.append(
            .endpointBreakerChanged(endpoints[endpointIndex].name, endpoints[endpointIndex].breaker.state))
        for index in endpoints[endpointIndex].apps { permitChanged(index, change, now: now, &actions) }
    }

    mutating func appBreakerChanged(
        _ index: Int, _ change: Breaker.Change, now: Moment, _ actions: inout DispatchActions
    ) {
        guard change != .none else { return }
        actions.events.append(.appBreakerChanged(buffer.app(at: index), upstreams[index].breaker.state))
        permitChanged(index, change, now: now, &actions)
    }

    private mutating func permitChanged(
        _ index: Int, _ change: Breaker.Change, now: Moment, _ actions: inout DispatchActions
    ) {
        if change == .opened {
            returnWaiting(of: index, now: now, &actions)
        } else {
            sendNext(of: index, now: now, &actions)
            actions.wantsClaim = true
        }
    }

    // MARK: Tick

    /// Advances breakers, credentials and rates. The caller reports it every `DispatchConfiguration.pollEvery`.
    package mutating func tick(now: Moment, _ actions: inout DispatchActions) {
        returnWaitingQuarantined(now: now, &actions)
        for endpointIndex in endpoints.indices {
            divideRetryBudget(of: endpointIndex, now: now.monotonic)
            let change = endpoints[endpointIndex].breaker.advance(now: now.monotonic, jitter: generator.nextUnit())
            endpointBreakerChanged(endpointIndex, change, now: now, &actions)
        }
        for index in upstreams.indices {
            let change = upstreams[index].breaker.advance(now: now.monotonic, jitter: generator.nextUnit())
            appBreakerChanged(index, change, now: now, &actions)
            upstreams[index].credential.advance(now: now.monotonic, jitter: generator.nextUnit())
            if let pushes = upstreams[index].stallDetector.poll(now: now.monotonic) {
                actions.events.append(.nothingDelivered(buffer.app(at: index), pushes: pushes))
            }
            // Batches that wait for the app's rate.
            if buffer.pushesWaiting(of: index) > 0 { sendNext(of: index, now: now, &actions) }
            sampleThroughput(index, now: now.monotonic)
        }
        lastTick = now.monotonic
        publishDelays(now: now.monotonic, &actions)
        // Retries and scheduled pushes in the store may have become due.
        actions.wantsClaim = true
    }

    /// Returns quarantined batches that could not be sent immediately, because of their app's rate or its other pushes:
    /// they would block the trials of all apps.
    private mutating func returnWaitingQuarantined(now: Moment, _ actions: inout DispatchActions) {
        for ticket in buffer.quarantinedWaiting {
            guard let index = buffer.work(ticket)?.appIndex else { continue }
            returnToStore(ticket, now: now, &actions)
            buffer.assumeBacklog(of: index)
            upstreams[index].quarantineDeferredUntil = now.monotonic + AppUpstream.quarantineTurnPause
        }
    }

    /// How long an app shares the retry budget after its last retry.
    private static let retrySharingWindow: Duration = .seconds(10)

    /// Divides the retry budget of an endpoint among the apps that retry.
    private mutating func divideRetryBudget(of endpointIndex: Int, now: Duration) {
        let sharers = endpoints[endpointIndex].apps.count { index in
            upstreams[index].retriedAt.map { now - $0 < Self.retrySharingWindow } ?? false
        }
        for index in endpoints[endpointIndex].apps { upstreams[index].budget.share(among: sharers, now: now) }
    }

    /// Updates the figures that delays are estimated from.
    private mutating func sampleThroughput(_ index: Int, now: Duration) {
        if buffer.hasBacklog(index) {
            if upstreams[index].backlogSince == nil { upstreams[index].backlogSince = now }
        } else {
            upstreams[index].backlogSince = nil
        }
        guard let lastTick, now > lastTick else { return }
        let seconds = Double((now - lastTick).milliseconds) / 1000
        // A moving average over about three seconds, independent of the interval between ticks.
        let weight = min(1, seconds / 3)
        upstreams[index].answersPerSecond +=
            weight * (Double(upstreams[index].answered) / max(seconds, 0.001) - upstreams[index].answersPerSecond)
        upstreams[index].answered = 0
    }
}
