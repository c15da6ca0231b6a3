import APNSWire
package import PushModel
package import PushStore

// Dispatch moves batches from the store to the APNs clients and turns answers into settlements. This state machine
// makes all of its decisions: which batches to claim, what to send now, what an answer means, and what to return
// unsent.
//
// It is pure. Each method is one event: it receives the time, changes the state and appends to `DispatchActions`. The
// caller performs the actions and reports the results as further events. `Dispatcher` does that with a real store, real
// clients and real clocks; `PathSimulation` does it in virtual time. Random values derive from a seed, so the same seed
// and the same events lead to the same actions.
//
// A batch in memory is in one of four states:
//
//            claimed                              handoffDelivered
//      (the store's backlog)                  (direct hand-off by accept)
//               │                                       │
//               └───────────────┬───────────────────────┘
//                               ▼            all pushes expired, cancelled or given up; or
//                         ┌───────────┐      sending is closed, the lease is short: returned unsent
//                         │  waiting  │ ───────────────────────────────────────────────────┐
//                         └───────────┘                                                    │
//           sendNext: permit, │  │ the same, for at-most-once pushes                       │
//           window and budget │  ▼                                                         │
//                             │ ┌─────────────┐  announced too late for the lease, drain   │
//                             │ │ announcing  │ ─────────────────────────────────────────┐ │
//                             │ └─────────────┘                                          │ │
//                             │        │ announced: the store has recorded it            │ │
//                             ▼        ▼                                                 ▼ ▼
//                         ┌──────────────┐     answered, until no push is left     ┌──────────┐
//                         │  in flight   │ ──────────────────────────────────────► │ settling │
//                         └──────────────┘                                         └──────────┘
//                                                                                       │ settled
//                                                                                       ▼
//                                                                             removed, capacity free
//
// `renewed` (lease lost) and `refused` remove a batch in any state. Answers that arrive afterwards are counted as late
// and change nothing: another instance may own the batch.
//
// Whether the pushes of an app may be sent is its `SendPermit`. It combines what applies to the app alone (pause,
// credential, breaker) with the breaker of its APNs endpoint, which all apps of that endpoint share:
//
//      .open         send, within window, rate and retry budget
//      .probes(n)    send at most n pushes; their answers decide whether the breaker closes
//      .pending      probes are in flight: waiting batches stay in memory
//      .closed       nothing is sent soon: waiting batches return to the store and no attempt is counted
//
// At-most-once pushes, those with `AmbiguityPolicy.drop`, are sent differently: they must not be sent twice, not even
// after a crash. They are sent only after the store has recorded that they are about to be sent (`announce`,
// `announced`). An instance that claims them later treats every announced push as sent. All other pushes are sent first
// and recorded afterwards.

/// Decides which batches are claimed and sent, what their answers mean, and which batches return to the store. Pure.
///
/// Methods that take `DispatchActions` are events; the caller performs the actions that they append. Times are those at
/// which the event happened.
package struct DispatchStateMachine: Sendable {
    let configuration: DispatchConfiguration
    var buffer: DispatchBuffer
    var generator: SeededGenerator
    /// Indexed by app, see `DispatchBuffer.index(of:)`.
    var upstreams: [AppUpstream] = []
    var endpoints: [EndpointUpstream] = []
    /// Sends that wait until the store has recorded them.
    private var announcing: [Lease: DispatchActions.Send] = [:]
    /// The delays that were published last.
    var delays: [AppID: DeliveryDelay] = [:]
    var lastTick: Duration?

    /// - Parameters:
    ///   - apps: the apps that have an APNs client.
    ///   - seed: of all random values.
    package init(configuration: DispatchConfiguration, apps: [AppID], seed: UInt64) {
        self.configuration = configuration
        buffer = DispatchBuffer(limits: configuration.limits)
        generator = SeededGenerator(seed: seed)
        // Sorted, so that the same apps always get the same indexes.
        for app in apps.sorted() { upstreams[index(of: app)].hasClient = true }
    }

    /// The app's index. An app without a client is added on its first use.
    mutating func index(of app: AppID) -> Int {
        let index = buffer.index(of: app)
        if upstreams.count <= index { addUpstream(of: app) }
        return index
    }

    private mutating func addUpstream(of app: AppID) {
        let settings = configuration.apps[app] ?? AppSettings(id: app)
        let endpointIndex = endpoints.firstIndex { $0.name == settings.endpoint } ?? endpoints.count
        if endpointIndex == endpoints.count {
            endpoints.append(
                EndpointUpstream(name: settings.endpoint, breaker: Breaker(settings: configuration.breaker))
            )
        }
        endpoints[endpointIndex].apps.append(upstreams.count)
        upstreams.append(
            AppUpstream(
                hasClient: false, endpointIndex: endpointIndex,
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

    /// The next claim; nil when there is no capacity or after `drain`. The caller reports the result to `claimed`, or
    /// drops the plan, before it makes another one.
    package mutating func claimPlan(now: Moment) -> DispatchBuffer.ClaimPlan? {
        let excluded = upstreams.indices.map { isExcluded($0, now: now.monotonic) }
        guard var plan = buffer.claimPlan(isExcluded: { excluded[$0] }) else { return nil }
        for index in upstreams.indices where upstreams[index].defersQuarantined(now: now.monotonic) {
            plan.excludedQuarantined.insert(AppEnvironment(buffer.app(at: index)))
        }
        return plan
    }

    /// Whether batches of the app stay in the store for now.
    private func isExcluded(_ index: Int, now: Duration) -> Bool {
        switch sendPermit(of: index, now: now) {
        case .closed, .pending: true
        // Probes need few pushes.
        case .probes: buffer.pushesWaiting(of: index) > 0
        case .open: holdsEnough(index)
        }
    }

    /// Whether the waiting pushes of the app last for two seconds at its rate.
    private func holdsEnough(_ index: Int) -> Bool {
        guard let rate = upstreams[index].rate else { return false }
        return buffer.pushesWaiting(of: index) >= max(NotificationBatch.countMax, Int(2 * rate.perSecond))
    }

    /// The store has returned the result of a claim.
    ///
    /// - Parameters:
    ///   - plan: the claim.
    ///   - requestedAt: monotonic time before the call. The lease counts from then, so this instance never assumes that
    ///     a lease lasts longer than the store does.
    /// - Returns: whether the store may have more, so that the caller should claim again immediately.
    package mutating func claimed(
        _ batches: [ClaimedBatch], plan: DispatchBuffer.ClaimPlan, requestedAt: Duration, now: Moment,
        _ actions: inout DispatchActions
    ) -> Bool {
        var indexes: [Int] = []
        for batch in batches {
            let index = index(of: batch.batch.app)
            if !indexes.contains(index) { indexes.append(index) }
        }
        let mayHaveMore = buffer.claimed(
            batches, plan: plan, leaseUntil: requestedAt + configuration.lease, jitter: generator.nextUnit()
        )
        for index in indexes { sendNext(of: index, now: now, &actions) }
        return mayHaveMore && !buffer.isDraining
    }

    // MARK: Direct hand-off

    /// Reserves capacity for a batch that is about to be written to the store.
    ///
    /// - Returns: nil if the batch must be claimed from the store: sending is not open, older batches wait there, or
    ///   there is no capacity. A reservation ends with `cancel` or `handoffDelivered`.
    package mutating func reserve(pushes: Int, for app: AppID, lane: Lane, now: Moment) -> HandoffReservation? {
        let index = index(of: app)
        guard sendPermit(of: index, now: now.monotonic) == .open, !holdsEnough(index),
            buffer.reserve(pushes: pushes, for: index, lane: lane)
        else { return nil }
        return HandoffReservation(app: app, lane: lane, pushes: pushes, since: now.monotonic)
    }

    /// Releases the capacity of a reservation that is not used.
    package mutating func cancel(_ reservation: HandoffReservation) {
        buffer.cancelReservation(pushes: reservation.pushes, of: index(of: reservation.app), lane: reservation.lane)
    }

    /// The batch of a reservation is durable, and claimed by the same write.
    package mutating func handoffDelivered(
        _ batch: ClaimedBatch, to reservation: HandoffReservation, now: Moment, _ actions: inout DispatchActions
    ) {
        buffer.handoffDelivered(
            batch, leaseUntil: reservation.since + configuration.lease, jitter: generator.nextUnit()
        )
        sendNext(of: index(of: reservation.app), now: now, &actions)
    }

    /// A batch of the app was written to the store and not handed over: it is sent before newer batches.
    package mutating func notifyBacklog(of app: AppID, lane: Lane) {
        buffer.notifyBacklog(of: index(of: app), lane: lane)
    }

    // MARK: Leases

    /// The leases to renew, in the order of their claims.
    package var leases: [Lease] { buffer.leases }
    /// Leases of the quarantined batches in memory.
    package var quarantined: Set<Lease> { buffer.quarantined }

    /// The store has renewed `leases`, except those that are `lost`.
    ///
    /// - Parameter requestedAt: monotonic time before the call.
    package mutating func renewed(
        _ leases: [Lease], lost: [Lease], requestedAt: Duration, _ actions: inout DispatchActions
    ) {
        for lease in lost { announcing[lease] = nil }
        let unfinished = buffer.lost(lost)
        buffer.renewed(leases, until: requestedAt + configuration.lease)
        if unfinished > 0 { actions.events.append(.leasesLost(batches: unfinished)) }
    }

    // MARK: At-most-once sends

    /// Records that pushes are about to be sent. The send follows in `announced`; if this process crashes in between,
    /// the next owner of the batch treats the pushes as sent.
    mutating func announce(
        _ send: DispatchActions.Send, of work: DispatchBuffer.Work, now: Moment, _ actions: inout DispatchActions
    ) {
        let lease = work.claimed.lease
        announcing[lease] = send
        let sends = send.indexes ?? Array(0..<UInt16(send.batch.count))
        actions.settlements.append(
            DispatchActions.SettlementWrite(
                settlement: Settlement(lease: lease, sends: sends, at: now.wall),
                acceptedAt: work.claimed.batch.acceptedAt
            )
        )
    }

    /// The store has recorded that pushes of these batches are about to be sent.
    package mutating func announced(_ leases: [Lease], now: Moment, _ actions: inout DispatchActions) {
        for lease in leases {
            guard var send = announcing.removeValue(forKey: lease), let work = buffer.work(send.ticket) else {
                continue
            }
            // The write may have been slow: sending needs enough of the lease to wait for the answer.
            send.timeouts.wait = min(send.timeouts.wait, work.leaseUntil - now.monotonic - send.timeouts.answer)
            if send.timeouts.wait > .zero {
                actions.sends.append(send)
            } else {
                revert(send, now: now, &actions)
            }
        }
    }

    /// Reverts announced sends that were not performed, and records the reversal in the store.
    private mutating func revert(
        _ send: DispatchActions.Send, now: Moment, _ actions: inout DispatchActions
    ) {
        guard let (work, isDone) = buffer.removeAnswered(send.count, of: send.ticket) else { return }
        let retries = work.pending.map {
            Retry(index: $0.index, code: .none, attempts: $0.attempts, due: now.wall)
        }
        appendSettlement(of: work, outcomes: [], retries: retries, isDone: isDone, now: now, &actions)
    }

    private mutating func revertAnnouncing(now: Moment, _ actions: inout DispatchActions) {
        let sends = announcing.values.sorted { $0.ticket < $1.ticket }
        announcing = [:]
        for send in sends { revert(send, now: now, &actions) }
    }

    // MARK: Settlements

    /// The store has recorded the last settlement of these batches: their capacity is free.
    package mutating func settled(_ leases: [Lease], _ actions: inout DispatchActions) {
        buffer.settled(leases)
        actions.wantsClaim = true
    }

    /// The store refused settlements under these leases: another instance owns the batches.
    package mutating func refused(_ leases: [Lease], _ actions: inout DispatchActions) {
        for lease in leases { announcing[lease] = nil }
        buffer.lost(leases)
        actions.events.append(.leasesLost(batches: leases.count))
        actions.wantsClaim = true
    }

    // MARK: Drain

    /// Stops claims, reservations and sends, and returns unsent batches to the store unchanged.
    package mutating func drain(now: Moment, _ actions: inout DispatchActions) {
        buffer.drain()
        revertAnnouncing(now: now, &actions)
        returnWaiting(now: now, &actions) { _ in true }
    }

    package var isDraining: Bool { buffer.isDraining }
    /// Whether pushes are in flight.
    package var hasUnanswered: Bool { buffer.hasUnanswered }
    /// Whether no batch is in memory.
    package var isEmpty: Bool { buffer.isEmpty }
    package var pushesInMemory: Int { buffer.pushesInMemory }
    package var pushesInFlight: Int { buffer.pushesInFlight }
}
