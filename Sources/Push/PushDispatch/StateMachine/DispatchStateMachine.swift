import APNSWire
package import PushModel
package import PushStore

/// Every decision of dispatch: what is claimed, what is sent and when, what an answer means, what is given back.
///
/// Pure: events come in with the moment they happened, effects go out, and what is drawn by chance is drawn from a
/// seed. `Dispatcher` does what it says; a simulation can do the same in virtual time.
package struct DispatchStateMachine: Sendable {
    let configuration: DispatchConfiguration
    var machine: DispatchBuffer
    var generator: SeededGenerator
    /// By app index.
    var gates: [AppUpstream] = []
    var environments: [EndpointUpstream] = []
    /// Sends that wait until the store knows of them.
    private var unannounced: [Lease: DispatchActions.Send] = [:]
    /// What was told last.
    var delays: [AppID: DeliveryDelay] = [:]
    var lastTick: Duration?

    /// - Parameter apps: the apps that have a client.
    package init(configuration: DispatchConfiguration, apps: [AppID], seed: UInt64) {
        self.configuration = configuration
        machine = DispatchBuffer(limits: configuration.limits)
        generator = SeededGenerator(seed: seed)
        // Sorted, so that the same apps always get the same places.
        for app in apps.sorted() { gates[index(of: app)].isKnown = true }
    }

    /// Where an app is kept; one that comes up for the first time has no client.
    mutating func index(of app: AppID) -> Int {
        let index = machine.index(of: app)
        if gates.count <= index { addEndpoint(of: app) }
        return index
    }

    private mutating func addEndpoint(of app: AppID) {
        let settings = configuration.apps[app] ?? DispatchApp()
        var place = environments.firstIndex { $0.name == settings.environment } ?? environments.count
        if place == environments.count {
            environments.append(
                EndpointUpstream(
                    name: settings.environment, breaker: Breaker(settings: configuration.breaker)
                )
            )
            place = environments.count - 1
        }
        environments[place].apps.append(gates.count)
        gates.append(
            AppUpstream(
                isKnown: false, environment: place,
                credential: CredentialBreaker(
                    probeEvery: configuration.credentialProbeEvery, probeTimeout: configuration.breaker.probeTimeout
                ),
                breaker: Breaker(settings: configuration.breaker),
                budget: RetryBudget(settings: configuration.retryBudget),
                rate: settings.pushesPerSecond.map { SendRate(perSecond: Double($0)) }
            )
        )
    }

    // MARK: Claiming

    /// What to ask the store for now; nil when there is no room or we are stopping. Answered by `claimed`, and only then
    /// asked again.
    package mutating func claimPlan(now: Moment) -> DispatchBuffer.ClaimPlan? {
        let barred = gates.indices.map { isBarred($0, now: now.monotonic) }
        guard var plan = machine.claimPlan(isBarred: { barred[$0] }) else { return nil }
        for index in gates.indices where gates[index].defersQuarantined(now: now.monotonic) {
            plan.excludedQuarantined.insert(machine.app(at: index))
        }
        return plan
    }

    /// Whether batches of the app are better left in the store.
    private func isBarred(_ index: Int, now: Duration) -> Bool {
        switch admission(of: index, now: now) {
        case .shut, .wait: true
        // A batch or two are enough to take probes from.
        case .probes: machine.pushesWaiting(of: index) > 0
        case .open: holdsEnough(index)
        }
    }

    /// Whether the app has enough in memory for the next seconds at its rate.
    private func holdsEnough(_ index: Int) -> Bool {
        guard let rate = gates[index].rate else { return false }
        return machine.pushesWaiting(of: index) >= max(NotificationBatch.countMax, Int(2 * rate.perSecond))
    }

    /// The answer to a claim made by `plan`.
    ///
    /// - Parameter askedAt: by the monotonic clock, before the question: the lease counts from then, so our idea of its
    ///   end is never later than the store's.
    /// - Returns: whether more may wait, so that it is worth asking again at once.
    package mutating func claimed(
        _ batches: [ClaimedBatch], plan: DispatchBuffer.ClaimPlan, askedAt: Duration, now: Moment,
        _ effects: inout DispatchActions
    ) -> Bool {
        var indexes: [Int] = []
        for batch in batches {
            let index = index(of: batch.batch.app)
            if !indexes.contains(index) { indexes.append(index) }
        }
        let mayHoldMore = machine.claimed(
            batches, plan: plan, leaseUntil: askedAt + configuration.lease, draw: generator.draw()
        )
        for index in indexes { sendNext(of: index, now: now, &effects) }
        return mayHoldMore && !machine.isDraining
    }

    // MARK: The hot hand-off

    package mutating func reserve(pushes: Int, for app: AppID, lane: Lane, now: Moment) -> HandoffReservation? {
        let index = index(of: app)
        guard admission(of: index, now: now.monotonic) == .open, !holdsEnough(index),
            machine.reserve(pushes: pushes, for: index, lane: lane)
        else { return nil }
        return HandoffReservation(app: app, lane: lane, pushes: pushes, since: now.monotonic)
    }

    package mutating func cancel(_ capacity: HandoffReservation) {
        machine.cancelReservation(pushes: capacity.pushes, of: index(of: capacity.app), lane: capacity.lane)
    }

    package mutating func handedOver(
        _ batch: ClaimedBatch, to capacity: HandoffReservation, now: Moment, _ effects: inout DispatchActions
    ) {
        machine.handedOver(batch, leaseUntil: capacity.since + configuration.lease, draw: generator.draw())
        sendNext(of: index(of: capacity.app), now: now, &effects)
    }

    package mutating func notifyBacklog(of app: AppID, lane: Lane) {
        machine.notifyBacklog(of: index(of: app), lane: lane)
    }

    // MARK: Leases

    package var leases: [Lease] { machine.leases }
    /// Batches in memory that are suspected of killing their holder.
    package var quarantined: Set<Lease> { machine.quarantined }

    /// The store has renewed `leases`, but for those that are `lost`.
    ///
    /// - Parameter askedAt: by the monotonic clock, before the question.
    package mutating func renewed(
        _ leases: [Lease], lost: [Lease], askedAt: Duration, _ effects: inout DispatchActions
    ) {
        for lease in lost { unannounced[lease] = nil }
        let unfinished = machine.lost(lost)
        machine.renewed(leases, until: askedAt + configuration.lease)
        if unfinished > 0 { effects.events.append(.leasesLost(batches: unfinished)) }
    }

    // MARK: Sending at most once

    /// Sends pushes that must not be sent twice: first the store is told that they are about to be sent, so that whoever comes
    /// after us, should we die, takes them for sent.
    mutating func announce(
        _ send: DispatchActions.Send, of work: DispatchBuffer.Work, now: Moment, _ effects: inout DispatchActions
    ) {
        let lease = work.claimed.lease
        unannounced[lease] = send
        let sends = send.indexes ?? Array(0..<UInt16(send.batch.count))
        effects.news.append(
            DispatchActions.News(
                settlement: Settlement(lease: lease, sends: sends, at: now.wall),
                acceptedAt: work.claimed.batch.acceptedAt
            )
        )
    }

    /// The store has recorded that pushes of these batches are about to be sent.
    package mutating func announced(_ leases: [Lease], now: Moment, _ effects: inout DispatchActions) {
        for lease in leases {
            guard let send = unannounced.removeValue(forKey: lease), let work = machine.work(send.ticket) else {
                continue
            }
            // The store may have taken its time.
            if work.leaseUntil > now.monotonic + send.deadline {
                effects.sends.append(send)
            } else {
                takeBack(send, now: now, &effects)
            }
        }
    }

    /// What the store was told of, or is to be, and was not sent, stays unsent: the store is told that, too.
    private mutating func takeBack(
        _ send: DispatchActions.Send, now: Moment, _ effects: inout DispatchActions
    ) {
        guard let (work, isDone) = machine.decided(send.count, of: send.ticket) else { return }
        let retries = work.pending.map {
            Retry(index: $0.index, code: .none, attempts: $0.attempts, due: now.wall)
        }
        tell(work, outcomes: [], retries: retries, isDone: isDone, now: now, &effects)
    }

    private mutating func takeBackUnannounced(now: Moment, _ effects: inout DispatchActions) {
        let sends = unannounced.values.sorted { $0.ticket < $1.ticket }
        unannounced = [:]
        for send in sends { takeBack(send, now: now, &effects) }
    }

    // MARK: What the store has recorded

    /// The store has recorded the end of these batches.
    package mutating func settled(_ leases: [Lease], _ effects: inout DispatchActions) {
        machine.settled(leases)
        // Room has become free.
        effects.wantsClaim = true
    }

    /// The store refused news of these: somebody else owns them now.
    package mutating func refused(_ leases: [Lease], _ effects: inout DispatchActions) {
        for lease in leases { unannounced[lease] = nil }
        machine.lost(leases)
        effects.events.append(.leasesLost(batches: leases.count))
        effects.wantsClaim = true
    }

    // MARK: The end

    /// Nothing is claimed, handed over or sent any more, and what was not sent goes back, untouched.
    package mutating func drain(now: Moment, _ effects: inout DispatchActions) {
        machine.drain()
        takeBackUnannounced(now: now, &effects)
        giveBackWaiting(now: now, &effects) { _ in true }
    }

    package var isDraining: Bool { machine.isDraining }
    /// Whether pushes are still waiting for an answer.
    package var hasUnanswered: Bool { machine.hasUnanswered }
    /// Whether nothing is in memory.
    package var isEmpty: Bool { machine.isEmpty }
    package var pushesInMemory: Int { machine.pushesInMemory }
    package var pushesInFlight: Int { machine.pushesInFlight }
}
