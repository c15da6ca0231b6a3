package import APNSWire
package import PushModel
package import PushStore
import Synchronization

// Dispatch moves batches from the store to the APNs clients and turns answers into settlements. This state machine
// makes all of its decisions: which batches to claim, what to send now, what an answer means, and what to return
// unsent.
//
// It has no clock and performs no I/O. Each method is one event: it receives the time, changes the state and appends to
// `DispatchActions`. The caller performs the actions and reports the results as further events. `Dispatcher` does that
// with a real store, real clients and real clocks; `PathSimulation` does it in virtual time. Random values derive from
// a seed, so the same seed and the same events in one thread lead to the same actions.
//
// The state is divided by app, that is by `AppEnvironment`, so that the backlog, the answers and the cancellations of an
// app cost no other app a scan or a wait for a lock:
//
//      DispatchStateMachine    finds the apps that an event concerns
//        │
//        ├── AppStateMachine   one per app, each with its own lock: its batches, the ready and held pushes of
//        │                     each, window, permit, credential, breaker, rate, retry budget
//        │
//        └── SharedState       one, with its own lock, for short operations only: the capacity of the memory and its
//                              shares, claim plans, backlogs, the trial of quarantined batches, breakers of endpoints
//
// Order of locks: app before shared. A thread holds the lock of one app at most, and none while the lock of the shared
// part is held. So a change of an endpoint's breaker, which one app's answers cause and which concerns all apps of the
// endpoint, reaches them after the app's lock is released (`endpointChanges`).
//
// A batch is in memory from its claim or hand-off until the store has recorded the last settlement. Each of its pushes
// is in one of these states, and one batch may have pushes in all of them:
//
//            claimed                              handoffDelivered
//      (the store's backlog)                  (direct hand-off by accept)
//               │                                       │
//               └───────────────┬───────────────────────┘
//            due later   ┌──────┴──────┐  due
//                        ▼             ▼
//                   ┌────────┐ due ┌───────┐  expired, cancelled, given up: settled
//                   │  held  │────►│ ready │──────────────────────────────────────────────► done
//                   └────────┘◄────└───────┘  nothing is sent soon, the lease is short: left to the store
//                      ▲ over the    │   │
//                      │ retry       │   │ sendNext: permit, window, rate
//                      │ budget      │   │ the same, for at-most-once pushes
//                      │             │   ▼
//                      │             │ ┌────────────┐  announced too late for the lease, drain: reverted
//                      │             │ │ announcing │────────────────────────────────────────► done
//                      │             │ └────────────┘
//                      │             │   │ announced: the store has recorded it
//                      │             ▼   ▼
//                      │         ┌───────────┐  answered: an outcome, or a retry that is left to the store
//                      └─────────│ in flight │────────────────────────────────────────────────► done
//                        a retry └───────────┘
//                        of a batch with other unsent pushes
//
// A batch is sent in as many parts as its due times, the rate, the budget and probes require, under one lease; its last
// settlement ends the lease. `renewed` (lease lost) and `refused` remove a batch in any state. Answers that arrive
// afterwards are counted as late and change nothing: another instance may own the batch.
//
// Whether the pushes of an app may be sent is its `SendPermit`. It combines what applies to the app alone (pause,
// credential, breaker) with the breaker of its APNs endpoint:
//
//      .open     send, within window, rate and retry budget
//      .ramp     the same, within the limit after an outage
//      .probes   send single pushes; an answer decides whether the breaker closes
//      .closed   nothing is sent soon: unsent pushes return to the store
//
// A breaker that opens returns the unsent pushes to the store. From then on a claim serves to find a push for the next
// probe. While a breaker is open, failed attempts are not counted, and their pushes are due immediately.
//
// At-most-once pushes, those with `AmbiguityPolicy.drop`, are the exception: they must not be sent twice, not even after
// a crash. They are sent only after the store has recorded that they are about to be sent (`announced`). An instance
// that claims them later treats every announced push as sent. All other pushes are sent first and recorded afterwards.

/// Decides which batches are claimed and sent, what their answers mean, and which batches return to the store.
///
/// Methods that take `DispatchActions` are events; the caller performs the actions that they append. Times are those at
/// which the event happened. Events of different apps may occur concurrently.
package final class DispatchStateMachine: Sendable {
    private let configuration: DispatchConfiguration
    private let seed: UInt64
    let shared: SharedDispatch
    /// The apps that have an APNs client.
    private let configured: [AppEnvironment: AppDispatch]
    /// The same, in the order of their numbers.
    private let configuredApps: [AppDispatch]
    /// Apps without a client that occur in the store, each added on its first use.
    private let others = Mutex<[AppEnvironment: AppDispatch]>([:])

    /// - Parameters:
    ///   - apps: the apps that have an APNs client.
    ///   - seed: of all random values.
    package init(configuration: DispatchConfiguration, apps: [AppEnvironment], seed: UInt64) {
        self.configuration = configuration
        self.seed = seed
        let shared = SharedDispatch(SharedState(limits: configuration.limits, seed: seed))
        self.shared = shared
        // Sorted, so that the same apps always get the same numbers.
        configuredApps = apps.sorted().map {
            Self.add($0, hasClient: true, configuration, to: shared, seed: seed)
        }
        configured = Dictionary(uniqueKeysWithValues: configuredApps.map { ($0.app, $0) })
    }

    private static func add(
        _ app: AppEnvironment, hasClient: Bool, _ configuration: DispatchConfiguration, to shared: SharedDispatch,
        seed: UInt64
    ) -> AppDispatch {
        let settings = configuration.apps[app] ?? AppSettings(id: app.app)
        let (number, isPaused) = shared.withLock { shared in
            let number = shared.add(app, endpoint: settings.endpoint, breaker: configuration.breaker)
            return (number, shared.pausedApps.contains(app.app))
        }
        let state = AppStateMachine(
            app, number: number, hasClient: hasClient, isPaused: isPaused, settings: settings,
            configuration: configuration, shared: shared, seed: seed &+ UInt64(number) &* 0x9E37_79B9_7F4A_7C15
        )
        return AppDispatch(state)
    }

    // MARK: Apps

    /// All apps, in the order of their numbers.
    var apps: [AppDispatch] {
        configuredApps + others.withLock { $0.values.sorted { $0.number < $1.number } }
    }

    /// The same. After an outage, the app with the oldest push first: it has the first turn with the sends that are
    /// allowed.
    private var appsByTurn: [AppDispatch] {
        guard shared.withLock({ $0.hasRamp }) else { return apps }
        return apps.map { app in (app, due: app.state.withLock { $0.first?.due } ?? .distantFuture) }
            .sorted { ($0.due, $0.0.number) < ($1.due, $1.0.number) }.map(\.0)
    }

    func existing(_ app: AppEnvironment) -> AppDispatch? { configured[app] ?? others.withLock { $0[app] } }

    private func app(_ app: AppEnvironment) -> AppDispatch {
        if let known = configured[app] { return known }
        return others.withLock { others in
            if let known = others[app] { return known }
            let new = Self.add(app, hasClient: false, configuration, to: shared, seed: seed)
            others[app] = new
            return new
        }
    }

    /// Applies an event to one app.
    func update<Result: Sendable>(
        _ app: AppDispatch, now: Moment, _ actions: inout DispatchActions,
        _ event: (inout AppStateMachine, inout DispatchActions) -> Result
    ) -> Result {
        let result = app.state.withLock { state in
            defer { state.publishDemand(now: now.monotonic) }
            return event(&state, &actions)
        }
        while let change = actions.endpointChanges.popLast() { notify(of: change, now: now, &actions) }
        return result
    }

    private func notify(of change: EndpointChange, now: Moment, _ actions: inout DispatchActions) {
        let endpoint = shared.withLock { $0.apps.map(\.endpoint) }
        for app in apps where endpoint[app.number] == change.endpoint {
            update(app, now: now, &actions) { $0.endpointChanged(change.change, now: now, &$1) }
        }
    }

    /// Applies an event to the apps of batches in memory.
    func update(
        _ leases: [Lease], now: Moment, _ actions: inout DispatchActions,
        _ event: (inout AppStateMachine, [Lease], inout DispatchActions) -> Void
    ) {
        let owners = shared.withLock { $0.owners(of: leases) }
        for (app, leases) in owners {
            if let app = existing(app) { update(app, now: now, &actions) { event(&$0, leases, &$1) } }
        }
    }

    // MARK: Claiming

    /// The next claim; nil when there is no capacity or after `drain`. The caller reports the result to `claimed`, or
    /// drops the plan, before it makes another one.
    package func claimPlan(now: Moment) -> ClaimPlan? { shared.withLock { $0.claimPlan(now: now.monotonic) } }

    /// The store has returned the result of a claim.
    ///
    /// - Parameter requestedAt: monotonic time before the call.
    /// - Returns: whether the store may have more.
    package func claimed(
        _ batches: [ClaimedBatch], plan: ClaimPlan, requestedAt: Duration, now: Moment,
        _ actions: inout DispatchActions
    ) -> Bool {
        let apps = batches.map { app($0.batch.appEnvironment) }
        let mayHaveMore = shared.withLock { $0.claimed(batches, of: apps.map(\.number), plan: plan) }
        // Each app once, in the order of its first batch.
        var groups: [(app: AppDispatch, batches: [ClaimedBatch])] = []
        var positions: [Int: Int] = [:]
        for (app, batch) in zip(apps, batches) {
            if let position = positions[app.number] {
                groups[position].batches.append(batch)
            } else {
                positions[app.number] = groups.count
                groups.append((app, [batch]))
            }
        }
        for group in groups {
            update(group.app, now: now, &actions) { state, actions in
                state.received(
                    group.batches, leaseUntil: requestedAt + configuration.lease, now: now, &actions
                )
            }
        }
        return mayHaveMore
    }

    // MARK: Direct hand-off

    /// Reserves capacity for a batch that is about to be written to the store.
    ///
    /// - Returns: nil if the batch must be claimed from the store: sending is not open, older batches wait there, or
    ///   there is no capacity. A reservation ends with `cancel` or `handoffDelivered`.
    package func reserve(pushes: Int, for app: AppEnvironment, lane: Lane, now: Moment) -> HandoffReservation? {
        let app = self.app(app)
        guard app.state.withLock({ $0.permitsHandoff(lane, now: now.monotonic) }) else { return nil }
        let isReserved = shared.withLock { $0.reserve(pushes, for: app.number, lane: lane) }
        return isReserved
            ? HandoffReservation(app: app.app, lane: lane, pushes: pushes, since: now.monotonic) : nil
    }

    /// Releases the capacity of a reservation that is not used.
    package func cancel(_ reservation: HandoffReservation) {
        let number = app(reservation.app).number
        shared.withLock { $0.releaseCapacity(reservation.pushes, of: number, reservation.lane) }
    }

    /// The batch of a reservation is durable, and claimed by the same write.
    package func handoffDelivered(
        _ batch: ClaimedBatch, to reservation: HandoffReservation, now: Moment, _ actions: inout DispatchActions
    ) {
        let app = self.app(reservation.app)
        shared.withLock { $0.added(batch, of: app.number) }
        update(app, now: now, &actions) { state, actions in
            state.received([batch], leaseUntil: reservation.since + configuration.lease, now: now, &actions)
        }
    }

    /// A batch of the app was written to the store and not handed over: it is sent before newer batches.
    package func notifyBacklog(of app: AppEnvironment, lane: Lane) {
        // An app that is added later has a backlog until a claim shows otherwise.
        guard let number = existing(app)?.number else { return }
        shared.withLock { $0.noteBacklog(of: number, lane) }
    }

    // MARK: Answers

    /// The APNs client of an app has reported answers to some pushes of a send.
    package func answered(
        _ answers: APNSAnswers, of app: AppEnvironment, now: Moment, _ actions: inout DispatchActions
    ) {
        let app = self.app(app)
        guard let work = app.state.withLock({ $0.work(of: answers.ticket) }) else {
            app.state.withLock { $0.receivedLate(answers) }
            actions.events.append(.lateAnswers(pushes: answers.answers.count))
            return
        }
        let bundleID = configuration.apps[app.app]?.bundleID ?? ""
        let classification = AnswerClassification(answers, for: work, bundleID: bundleID)
        update(app, now: now, &actions) { $0.answered(classification, now: now, &$1) }
    }

    /// The store has recorded that pushes of these batches are about to be sent.
    package func announced(_ leases: [Lease], now: Moment, _ actions: inout DispatchActions) {
        guard !leases.isEmpty else { return }
        update(leases, now: now, &actions) { $0.announced($1, now: now, &$2) }
    }

    // MARK: Leases

    /// The leases to renew, by app.
    package struct Renewal: Sendable {
        fileprivate var apps: [(app: AppDispatch, leases: [Lease])]

        package var leases: [Lease] { apps.flatMap(\.leases) }
    }

    package func renewal() -> Renewal { Renewal(apps: apps.map { app in (app, app.state.withLock { $0.leases }) }) }

    /// The store has renewed leases, except those that are `lost`.
    ///
    /// - Parameter requestedAt: monotonic time before the call.
    package func renewed(
        _ renewal: Renewal, lost: [Lease], requestedAt: Duration, now: Moment, _ actions: inout DispatchActions
    ) {
        let lost = Set(lost)
        for (app, leases) in renewal.apps where !leases.isEmpty {
            update(app, now: now, &actions) {
                $0.renewed(leases, lost: lost, until: requestedAt + configuration.lease, &$1)
            }
        }
    }

    /// The store has recorded the last settlement of these batches: their capacity is free.
    package func settled(_ leases: [Lease], now: Moment, _ actions: inout DispatchActions) {
        update(leases, now: now, &actions) { state, leases, _ in state.settled(leases) }
        // A claim costs a transaction: none without a sign that it would return something. Batches that become due later
        // are claimed by `tick`.
        if shared.withLock({ $0.mayClaim }) { actions.wantsClaim = true }
    }

    /// The store refused settlements under these leases: another instance owns the batches.
    package func refused(_ leases: [Lease], now: Moment, _ actions: inout DispatchActions) {
        update(leases, now: now, &actions) { $0.refused($1, &$2) }
    }

    // MARK: Time

    /// Advances breakers, credentials and rates, and sends what has become due. The caller reports it every
    /// `DispatchConfiguration.pollEvery`.
    package func tick(now: Moment, _ actions: inout DispatchActions) {
        shared.withLock { $0.advance(now: now.monotonic) }
        var retrying: [Int] = []
        for app in appsByTurn {
            let isRetrying = update(app, now: now, &actions) { state, actions in
                state.tick(now: now, &actions)
                return state.isRetrying(now: now.monotonic)
            }
            if isRetrying { retrying.append(app.number) }
        }
        shared.withLock { $0.setRetrying(retrying) }
        // Retries and scheduled pushes in the store may have become due.
        actions.wantsClaim = true
    }
}
