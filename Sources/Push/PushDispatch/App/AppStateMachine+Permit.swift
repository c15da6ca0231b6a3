import APNSWire
import PushModel
import PushStore

// Everything that asks or informs the credential, the breakers, the rate and the retry budget.
//
//      permit          asks: may pushes be sent now?
//      sent            informs: pushes are sent, as probes or not
//      updatePermit    informs: APNs has answered
//      tick            informs: time has passed
//      endpointChanged the breaker of the endpoint has changed, because of this app or another one

extension AppStateMachine {
    // MARK: Permit

    /// Whether pushes of the app may be sent now.
    func permit(now: Duration) -> SendPermit {
        Self.combined(ownPermit(now: now), shared.withLock { $0.permit(of: number) })
    }

    /// The permit without the endpoint.
    private func ownPermit(now: Duration) -> SendPermit {
        guard !isPaused, breaker.state != .open else { return .closed }
        if credential.isRefused, !credential.isProbeDue(now: now) {
            return credential.isProbing ? .pending : .closed
        }
        let probes = min(
            credential.isRefused ? 1 : Int.max, breaker.state == .halfOpen ? breaker.probesLeft() : Int.max
        )
        return probes == .max ? .open : probes == 0 ? .pending : .probes(probes)
    }

    private static func combined(_ a: SendPermit, _ b: SendPermit) -> SendPermit {
        switch (a, b) {
        case (.closed, _), (_, .closed): .closed
        case (.pending, _), (_, .pending): .pending
        case (.probes(let a), .probes(let b)): .probes(min(a, b))
        case (.probes, _): a
        case (_, .probes), (.open, .open): b
        }
    }

    /// The number of pushes, of those that a batch wants to send, that the app's rate allows now.
    mutating func rateCapacity(for wanted: Int, now: Moment, _ actions: inout DispatchActions) -> Int {
        guard let capacity = rate?.capacity(for: wanted, now: now.monotonic) else { return .max }
        let waits = capacity < wanted
        if waits, !waitsForRate { actions.events.append(.rateLimited) }
        waitsForRate = waits
        return capacity
    }

    /// Whether the ready pushes of the app last for two seconds at its rate.
    var holdsEnough: Bool {
        guard let rate else { return false }
        return readyPushes >= max(NotificationBatch.countMax, Int(2 * rate.perSecond))
    }

    /// Whether a batch that is accepted now may be handed over, apart from its capacity.
    func permitsHandoff(now: Duration) -> Bool { permit(now: now) == .open && !holdsEnough }

    /// Reports to the shared part whether more batches are to be claimed, if that has changed.
    mutating func publishDemand(now: Duration) {
        var new = SharedState.ClaimDemand(hasReady: readyPushes > 0)
        switch ownPermit(now: now) {
        case .closed, .pending: new.isBlocked = true
        // Probes need few pushes.
        case .probes: new.isBlocked = new.hasReady
        case .open: new.isBlocked = holdsEnough
        }
        guard new != demand else { return }
        demand = new
        shared.withLock { $0.apps[number].demand = new }
    }

    // MARK: Sends

    /// Pushes are handed to the client, or are about to be.
    mutating func sent(_ send: DispatchActions.Send, retries: Int, isProbe: Bool, now: Duration) {
        rate?.sent(send.count)
        budget.sentAgain(retries, now: now)
        budget.sentFirst(send.count - retries, now: now)
        stallDetector.sent(send.count, now: now)
        guard isProbe else { return }
        if credential.isRefused { credential.probe(send.ticket, now: now) }
        if breaker.state == .halfOpen { breaker.probe(send.ticket, count: send.count, now: now) }
        shared.withLock { $0.probed(send.ticket, count: send.count, by: number, now: now) }
    }

    // MARK: Answers

    /// APNs has answered pushes of one send.
    ///
    /// - Parameter isTrial: whether they are of a quarantined batch.
    mutating func updatePermit(
        with classification: AnswerClassification, isTrial: Bool, now: Moment, _ actions: inout DispatchActions
    ) {
        let time = now.monotonic
        if classification.delivered > 0 { stallDetector.delivered() }
        if classification.finalAnswers > 0 { lastFinalAnswerAt = time }
        budget.answered(
            final: classification.finalAnswers, failed: classification.failedAttempts,
            recovered: classification.recovered, now: time
        )
        updateCredential(with: classification, now: now, &actions)
        breaker.record(classification.tally, now: time)
        let isHealthy = breaker.isHealthy(now: time)
        let (change, endpoint) = shared.withLock { shared in
            shared.quarantine.answered(classification, isTrial: isTrial, by: app, now: time)
            let change = shared.answered(classification, by: number, isHealthy: isHealthy, now: time)
            return (change, shared.breakerState(of: number))
        }
        if let change { appendChange(change, &actions) }
        updateBreaker(with: classification, endpoint: endpoint, now: now, &actions)
    }

    private mutating func updateCredential(
        with classification: AnswerClassification, now: Moment, _ actions: inout DispatchActions
    ) {
        if classification.credentialRefused > 0 {
            let isStateChange = credential.refused(
                classification.ticket, now: now.monotonic, jitter: generator.nextUnit()
            )
            guard isStateChange else { return }
            actions.events.append(.credentialRefused(app))
            returnUnsent(now: now, &actions)
        } else if credential.isRefused {
            let isAccepted = credential.answered(
                classification.ticket, isClassified: classification.finalAnswers > 0, now: now.monotonic,
                jitter: generator.nextUnit()
            )
            guard isAccepted else { return }
            actions.events.append(.credentialAccepted(app))
            actions.wantsClaim = true
        }
    }

    /// Updates the app's own breaker.
    ///
    /// - Parameter endpoint: the state of the endpoint's breaker. Unless it is closed, failures belong to the endpoint.
    private mutating func updateBreaker(
        with classification: AnswerClassification, endpoint: Breaker.State, now: Moment,
        _ actions: inout DispatchActions
    ) {
        let tally = classification.tally
        let bad = tally.calls - tally.good
        if breaker.state == .halfOpen {
            let change = breaker.answered(
                classification.ticket, good: tally.good, bad: bad, void: classification.count - tally.calls,
                now: now.monotonic, jitter: generator.nextUnit()
            )
            breakerChanged(change, now: now, &actions)
        } else if bad > 0, endpoint == .closed, breaker.isFailing(now: now.monotonic) {
            breaker.open(now: now.monotonic, jitter: generator.nextUnit())
            breakerChanged(.opened, now: now, &actions)
        }
    }

    private func appendChange(_ change: EndpointChange, _ actions: inout DispatchActions) {
        actions.events.append(.endpointBreakerChanged(change.name, change.state))
        actions.endpointChanges.append(change)
    }

    private mutating func breakerChanged(
        _ change: Breaker.Change, now: Moment, _ actions: inout DispatchActions
    ) {
        guard change != .none else { return }
        actions.events.append(.appBreakerChanged(app, breaker.state))
        permitChanged(change, now: now, &actions)
    }

    /// The breaker of the app's endpoint has changed.
    mutating func endpointChanged(_ change: Breaker.Change, now: Moment, _ actions: inout DispatchActions) {
        // The failures in the window belong to the endpoint.
        if change == .opened { breaker.clearWindow() }
        permitChanged(change, now: now, &actions)
    }

    private mutating func permitChanged(
        _ change: Breaker.Change, now: Moment, _ actions: inout DispatchActions
    ) {
        if change == .opened {
            returnUnsent(now: now, &actions)
        } else {
            sendNext(now: now, &actions)
            actions.wantsClaim = true
        }
    }

    // MARK: Time

    /// Advances breaker, credential and rate, and sends what has become due.
    mutating func tick(now: Moment, _ actions: inout DispatchActions) {
        returnUnsentTrial(now: now, &actions)
        let (sharers, hasBacklog) = shared.withLock { shared in
            (shared.retryingApps(with: number), Lane.allCases.contains { shared.hasBacklog(number, $0) })
        }
        budget.share(among: sharers, now: now.monotonic)
        let change = breaker.advance(now: now.monotonic, jitter: generator.nextUnit())
        breakerChanged(change, now: now, &actions)
        credential.advance(now: now.monotonic, jitter: generator.nextUnit())
        if let pushes = stallDetector.poll(now: now.monotonic) {
            actions.events.append(.nothingDelivered(app, pushes: pushes))
        }
        sendNext(now: now, &actions)
        sampleThroughput(hasBacklog: hasBacklog, now: now.monotonic)
    }

    /// Whether the app shares the retry budget of its endpoint: it had retries to send in the last seconds.
    func isRetrying(now: Duration) -> Bool { retriedAt.map { now - $0 < .seconds(10) } ?? false }

    // MARK: Delays

    /// Batches that wait in the store for less than this are no backlog.
    private static let backlogTimeout: Duration = .seconds(2)

    /// Why new pushes would not be sent immediately; nil if they would.
    func delay(now: Duration) -> DeliveryDelay? {
        if isPaused { return DeliveryDelay(reason: .paused, estimate: nil) }
        if let probesIn = credential.timeUntilProbe(now: now) {
            return DeliveryDelay(reason: .credentialRefused, estimate: Self.wholeSeconds(probesIn))
        }
        if let probesIn = shared.withLock({ $0.timeUntilProbes(of: number, now: now) }) ?? timeUntilProbes(now: now) {
            let estimate = probesIn > .zero ? probesIn : configuration.breaker.probeTimeout
            return DeliveryDelay(reason: .apnsUnreachable, estimate: Self.wholeSeconds(estimate))
        }
        if let rate, waitsForRate, readyPushes > 0 {
            let estimate = Duration.seconds(Double(readyPushes) / rate.perSecond)
            return DeliveryDelay(reason: .rateLimited, estimate: Self.wholeSeconds(estimate))
        }
        guard let since = backlogSince, now - since >= Self.backlogTimeout else { return nil }
        // Covers the batches in memory; the length of the queue in the store is unknown here.
        let estimate = answersPerSecond >= 1 ? Duration.seconds(Double(readyPushes) / answersPerSecond) : nil
        return DeliveryDelay(reason: .backlog, estimate: estimate.map(Self.wholeSeconds))
    }

    private func timeUntilProbes(now: Duration) -> Duration? {
        guard breaker.state != .closed, !breaker.hasOnlyGoodProbes else { return nil }
        return breaker.remainingOpenTime(now: now) ?? .zero
    }

    /// At least one second, rounded up: estimates are no more precise.
    private static func wholeSeconds(_ duration: Duration) -> Duration {
        .seconds(max(1, (duration.milliseconds + 999) / 1000))
    }

    /// The worst state among the app's breaker, its credential and the breaker of its endpoint.
    var breakerState: Breaker.State {
        let credential: Breaker.State = !credential.isRefused ? .closed : credential.isProbing ? .halfOpen : .open
        return [breaker.state, shared.withLock { $0.breakerState(of: number) }, credential]
            .max { $0.rawValue < $1.rawValue } ?? .closed
    }

    /// Updates the figures that delays are estimated from.
    private mutating func sampleThroughput(hasBacklog: Bool, now: Duration) {
        backlogSince = hasBacklog ? backlogSince ?? now : nil
        defer { lastTick = now }
        guard let lastTick, now > lastTick else { return }
        let seconds = Double((now - lastTick).milliseconds) / 1000
        // A moving average over about three seconds, independent of the interval between ticks.
        let weight = min(1, seconds / 3)
        answersPerSecond += weight * (Double(answersSinceTick) / max(seconds, 0.001) - answersPerSecond)
        answersSinceTick = 0
    }
}
