import APNSWire
import PushModel
import PushStore

// Everything that asks or informs the credential, the breakers, the rate and the retry budget.
//
//      permit          asks: may pushes be sent now?
//      probeCandidate  asks: which push may test the credential or a breaker now?
//      sent, probed    inform: pushes are sent
//      record          informs: APNs has answered
//      advance         informs: time has passed
//      endpointChanged the breaker of the endpoint has changed, because of this app or another one

extension AppStateMachine {
    // MARK: Permit

    /// Whether pushes of the app may be sent now.
    func permit() -> SendPermit {
        guard !isPaused else { return .closed }
        let endpoint = shared.withLock { $0.permit(of: number) }
        if endpoint == .closed { return .closed }
        if endpoint == .probes || breaker.state != .closed || credential.state != .accepted { return .probes }
        return breaker.isRamping ? .ramp : endpoint
    }

    /// The number of pushes, of those that a batch wants to send, that the app's rate allows now.
    mutating func rateCapacity(for wanted: Int, now: Moment, _ actions: inout DispatchActions) -> Int {
        guard let capacity = rate?.capacity(for: wanted, now: now.monotonic) else { return .max }
        let waits = capacity < wanted
        if waits, !waitsForRate { actions.events.append(.rateLimited) }
        waitsForRate = waits
        return capacity
    }

    /// Acquires as many of `wanted` sends as the ramps of the app and of its endpoint allow now.
    mutating func acquireRamp(_ wanted: Int, now: Duration) -> Int {
        let own = breaker.capacity(for: wanted, now: now)
        let count = shared.withLock { $0.acquireRamp(own, of: number, now: now) }
        breaker.sent(count)
        return count
    }

    /// Whether an outage of the endpoint limits sends so far that the order of apps matters.
    func isRampSlow(now: Duration) -> Bool {
        shared.withLock { $0.rampRate(of: number, now: now) }.map { $0 < Self.slowRamp } ?? false
    }

    /// Pushes per second. Above, the turn of an app comes soon, and ticks are too rare for its window.
    private static let slowRamp = 1_000.0

    /// The fewest pushes that are claimed for an app whose sends are limited: a claim costs a write.
    private static let pushesWantedMin = 100

    /// How many more pushes of each lane the app takes. With a rate, that is as many as last for two seconds: longer waits
    /// happen in the store, which has the order of all pushes.
    private func pushesWanted(permit: SendPermit, now: Duration) -> LaneCounts {
        var perSecond = rate?.perSecond
        if permit == .ramp { perSecond = [rampRate(now: now), perSecond].compactMap { $0 }.min() }
        guard let perSecond else { return LaneCounts(repeating: .max) }
        var wanted = LaneCounts()
        for lane in Lane.allCases {
            let enough = max(Self.pushesWantedMin, Int(2 * perSecond))
            wanted[lane] = max(0, enough - ready.count(atLeastAsUrgentAs: lane))
        }
        return wanted
    }

    /// The limit after an outage, in pushes per second; nil if there is none.
    private func rampRate(now: Duration) -> Double? {
        [breaker.rampRate(now: now), shared.withLock { $0.rampRate(of: number, now: now) }].compactMap { $0 }.min()
    }

    /// Whether a batch of the lane that is accepted now may be handed over, apart from its capacity.
    func permitsHandoff(_ lane: Lane, now: Duration) -> Bool {
        permit() == .open && pushesWanted(permit: .open, now: now)[lane] > 0
    }

    /// Reports to the shared part how much is to be claimed, if that has changed.
    mutating func publishDemand(now: Duration) {
        var new = SharedState.ClaimDemand(pushesMax: LaneCounts(), hasReady: readyPushes > 0)
        let permit = permit()
        switch permit {
        case .closed: break
        // While only probes are sent, a claim serves to find a push for one.
        case .probes: if lacksProbe(now: now) { new.pushesMax = LaneCounts(repeating: Self.pushesWantedMin) }
        case .ramp, .open: new.pushesMax = pushesWanted(permit: permit, now: now)
        }
        guard new != demand else { return }
        demand = new
        shared.withLock { $0.apps[number].demand = new }
    }

    // MARK: Probes

    /// A token that no push has: a probe is due for it whenever one is due for any token.
    private static let anyToken: UInt64 = 0

    /// What must let a probe pass: the credential, the app's breaker and the endpoint's.
    private struct ProbeGates {
        var credential: CredentialCheck
        var breaker: CircuitBreaker
        var endpoint: CircuitBreaker
        var app: Int

        func isProbeDue(token: UInt64, now: Duration) -> Bool {
            (credential.state == .accepted || credential.isProbeDue(token: token, now: now))
                && (breaker.state == .closed || breaker.isProbeDue(token: token, now: now))
                && (endpoint.state == .closed || endpoint.isProbeDue(token: token, app: app, now: now))
        }

        /// Whether a push to another token is a better probe.
        func wasProbed(token: UInt64) -> Bool {
            credential.wasProbed(token: token) || breaker.wasProbed(token: token) || endpoint.wasProbed(token: token)
        }
    }

    /// nil while no probe is due, or another app of the endpoint has the turn.
    private func dueGates(now: Duration) -> ProbeGates? {
        let (endpoint, isTurn) = shared.withLock { ($0.breaker(of: number), $0.isTurn(of: number, now: now)) }
        let gates = ProbeGates(credential: credential, breaker: breaker, endpoint: endpoint, app: number)
        return isTurn && gates.isProbeDue(token: Self.anyToken, now: now) ? gates : nil
    }

    struct ProbeCandidate {
        var key: UInt64
        var push: PendingPush
        var token: UInt64
        /// Whether a push to another token would be a better probe.
        var wasProbed: Bool
    }

    /// The ready push that may be sent now as a probe; nil if none may.
    ///
    /// At-most-once pushes come last: without an answer they are given up.
    func probeCandidate(now: Duration) -> ProbeCandidate? {
        guard readyPushes > 0, let gates = dueGates(now: now) else { return nil }
        var best: ProbeCandidate?
        for work in firstBatches {
            if work.isAtMostOnce, best != nil { continue }
            for push in work.readyPushes.prefix(NotificationBatch.countMax / 10) {
                let token = work.claimed.batch.notifications.tokenHash(at: Int(push.index))
                guard gates.isProbeDue(token: token, now: now) else { continue }
                let wasProbed = gates.wasProbed(token: token)
                let candidate = ProbeCandidate(key: work.key, push: push, token: token, wasProbed: wasProbed)
                if !wasProbed, !work.isAtMostOnce { return candidate }
                if best == nil { best = candidate }
            }
        }
        return best
    }

    /// Whether a probe is due, and no push in memory is a good one.
    private func lacksProbe(now: Duration) -> Bool {
        dueGates(now: now) != nil && probeCandidate(now: now)?.wasProbed ?? true
    }

    /// A push is sent as a probe.
    mutating func probed(_ ticket: UInt64, token: UInt64, now: Duration, _ actions: inout DispatchActions) {
        if credential.state != .accepted { credential.probe(ticket, token: token, now: now) }
        if breaker.state != .closed {
            let change = breaker.probe(ticket, token: token, now: now, jitter: generator.nextUnit())
            if change != nil { actions.events.append(.appBreakerChanged(app, breaker.state, cause: breaker.cause)) }
        }
        let change = shared.withLock { $0.probed(ticket, token: token, by: number, now: now) }
        if let change { appendChange(change, &actions) }
    }

    /// A probe was not sent.
    mutating func probeReverted(_ ticket: UInt64, now: Duration) {
        _ = credential.probeAnswered(ticket, .void, now: now, jitter: generator.nextUnit())
        _ = breaker.probeAnswered(ticket, .void, now: now)
        shared.withLock { $0.probeReverted(ticket, of: number, now: now) }
    }

    // MARK: Sends

    /// Pushes are handed to the client, or are about to be.
    ///
    /// - Parameter retries: those that use the retry budget.
    mutating func sent(_ send: DispatchActions.Send, retries: Int, now: Duration) {
        rate?.sent(send.count)
        budget.sentAgain(retries, now: now)
        budget.sentFirst(send.count - retries, now: now)
        stallDetector.sent(send.count, now: now)
    }

    // MARK: Answers

    /// What answers have changed, to be applied after their pushes are settled.
    struct UpstreamChanges {
        var credential: CredentialCheck.Change?
        var breaker: CircuitBreaker.Change?
        var endpoint: EndpointChange?
        /// Of the app and its endpoint, the answers included.
        var health = UpstreamHealth.unknown
    }

    /// Records what the answers to one send show about the credential, the app and its endpoint.
    ///
    /// - Parameter isTrial: whether they are of a quarantined batch.
    mutating func record(
        _ classification: AnswerClassification, isTrial: Bool, now: Duration
    ) -> UpstreamChanges {
        if classification.delivered > 0 {
            stallDetector.delivered()
            hasDelivered = true
        }
        if classification.finalAnswers > 0 { lastFinalAnswerAt = now }
        budget.answered(
            final: classification.finalAnswers, failed: classification.failedAttempts,
            recovered: classification.recovered, now: now
        )
        var changes = UpstreamChanges()
        changes.credential = recordCredential(classification, now: now)
        // While the app's breaker is open, its failures are known to be its own.
        let isOwnFault = breaker.state != .closed
        changes.breaker = recordBreaker(classification, now: now)
        let isHealthy = breaker.isHealthy(now: now)
        (changes.endpoint, changes.health) = shared.withLock { shared in
            shared.quarantine.answered(classification, isTrial: isTrial, by: app, now: now)
            let change = shared.record(
                classification, by: number, isHealthy: isHealthy, isOwnFault: isOwnFault, now: now)
            return (change, shared.health(of: number, now: now))
        }
        // While the endpoint's breaker is open, failures belong to the endpoint.
        if classification.report.hasFailures, changes.health != .failing, breaker.isFailing(now: now) {
            breaker.open(now: now, jitter: generator.nextUnit())
            changes.breaker = .opened
        }
        if breaker.state != .closed { changes.health = .failing }
        return changes
    }

    private mutating func recordCredential(
        _ classification: AnswerClassification, now: Duration
    ) -> CredentialCheck.Change? {
        if classification.lastAnswers.isEmpty {
            refusals.recordAccepted(classification.delivered, now: now)
        } else {
            refusals.record(classification.lastAnswers, now: now)
        }
        let jitter = generator.nextUnit()
        if credential.isProbing(classification.ticket) {
            return credential.probeAnswered(
                classification.ticket, classification.credentialResult, cause: classification.refusalReason, now: now,
                jitter: jitter)
        }
        var (refused, blamed) = (DistinctTokens(), DistinctTokens())
        for (kind, tokens) in classification.refusals {
            switch kind {
            case .credential, .expiredToken, .tokenUpdates: refused.formUnion(tokens)
            case .permission, .ownTopic: if refusals.blamesApp(for: kind, now: now) { blamed.formUnion(tokens) }
            }
        }
        return credential.record(
            refused: refused.isEmpty ? blamed : refused, cause: classification.refusalReason,
            good: classification.decided, isProven: refused.isEmpty, now: now, jitter: jitter)
    }

    private mutating func recordBreaker(
        _ classification: AnswerClassification, now: Duration
    ) -> CircuitBreaker.Change? {
        if breaker.isProbing(classification.ticket) {
            return breaker.probeAnswered(classification.ticket, classification.probeResult, now: now)
        }
        breaker.record(classification.report, now: now)
        return nil
    }

    /// Applies changes that `record` returned.
    mutating func apply(_ changes: UpstreamChanges, now: Moment, _ actions: inout DispatchActions) {
        switch changes.credential {
        case .refused:
            actions.events.append(.credentialRefused(app, credential.cause))
            // The breaker counts refusals as calls that APNs answered. Before a delivery they are no rate to return to.
            if hasDelivered { breaker.suspended(now: now.monotonic) }
            returnUnsent(now: now, &actions)
        case .accepted, .checked:
            refusals.clearAnswers()
            if changes.credential == .accepted {
                actions.events.append(.credentialAccepted(app))
                breaker.resumed(now: now.monotonic)
            }
            actions.wantsClaim = true
        case nil: break
        }
        if let change = changes.endpoint { appendChange(change, &actions) }
        guard let change = changes.breaker else { return }
        actions.events.append(.appBreakerChanged(app, breaker.state, cause: breaker.cause))
        permitChanged(change, now: now, &actions)
    }

    private func appendChange(_ change: EndpointChange, _ actions: inout DispatchActions) {
        actions.events.append(.endpointBreakerChanged(change.name, change.state, cause: change.cause))
        actions.endpointChanges.append(change)
    }

    /// The breaker of the app's endpoint has changed.
    mutating func endpointChanged(_ change: CircuitBreaker.Change, now: Moment, _ actions: inout DispatchActions) {
        // What the app's breaker has counted belongs to the endpoint.
        if change == .opened { breaker.reset() }
        permitChanged(change, now: now, &actions)
    }

    private mutating func permitChanged(
        _ change: CircuitBreaker.Change, now: Moment, _ actions: inout DispatchActions
    ) {
        switch change {
        case .opened: returnUnsent(now: now, &actions)
        case .halfOpened: break
        case .closed:
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
        breaker.advance(now: now.monotonic)
        credential.advance(now: now.monotonic, jitter: generator.nextUnit())
        if let pushes = stallDetector.poll(now: now.monotonic) {
            actions.events.append(.nothingDelivered(app, pushes: pushes))
        }
        sendNext(isTick: true, now: now, &actions)
        settleExpired(now: now, &actions)
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
        // The time of the next probe says nothing about when one succeeds.
        if credential.state == .refused { return DeliveryDelay(reason: .credentialRefused, estimate: nil) }
        if let cause = shared.withLock({ $0.outageCause(of: number) }) ?? breaker.outageCause {
            return DeliveryDelay(
                reason: .apnsUnreachable, estimate: nil,
                detail: cause == .none ? nil : "the last failure: \(cause.entry.meaning)")
        }
        if let rate, waitsForRate, readyPushes > 0 {
            let estimate = Duration.seconds(Double(readyPushes) / rate.perSecond)
            return DeliveryDelay(reason: .rateLimited, estimate: Self.wholeSeconds(estimate))
        }
        if permit() == .ramp, readyPushes > 0 || backlogSince != nil, let perSecond = rampRate(now: now) {
            // As above, without the queue in the store.
            let estimate = Self.wholeSeconds(.seconds(Double(readyPushes) / perSecond))
            return DeliveryDelay(reason: .backlog, estimate: estimate, detail: Self.rampDetail(perSecond))
        }
        guard let since = backlogSince, now - since >= Self.backlogTimeout else { return nil }
        // Covers the batches in memory; the length of the queue in the store is unknown here.
        let estimate = answersPerSecond >= 1 ? Duration.seconds(Double(readyPushes) / answersPerSecond) : nil
        return DeliveryDelay(reason: .backlog, estimate: estimate.map(Self.wholeSeconds))
    }

    private static func rampDetail(_ perSecond: Double) -> String {
        "limited to \(Int(perSecond.rounded())) pushes/s after an outage, by the rate before it; the limit grows later"
    }

    /// At least one second, rounded up: estimates are no more precise.
    private static func wholeSeconds(_ duration: Duration) -> Duration {
        .seconds(max(1, (duration.milliseconds + 999) / 1000))
    }

    /// The worst state among the app's breaker, its credential and the breaker of its endpoint.
    var breakerState: CircuitBreaker.State {
        let credential: CircuitBreaker.State =
            credential.state != .refused ? .closed : credential.isProbing ? .halfOpen : .open
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
