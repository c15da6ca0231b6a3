import APNSWire
package import PushModel
package import PushStore
import Synchronization

extension DispatchStateMachine {
    // MARK: Pause

    /// Stops or resumes sending for an app, in all of its environments. A pause returns its unsent batches to the store.
    package func setPaused(_ isPaused: Bool, app id: AppID, now: Moment, _ actions: inout DispatchActions) {
        shared.withLock { $0.setPaused(isPaused, app: id) }
        for app in environments(of: id) {
            update(app, now: now, &actions) { $0.setPaused(isPaused, now: now, &$1) }
        }
        actions.wantsClaim = true
    }

    // MARK: Cancel

    /// Which unsent pushes to cancel.
    package enum CancelSelection: Sendable {
        case ids([PushID])
        /// The batches of one bulk request.
        case request(String)
        case app(AppID)
    }

    /// Cancels unsent pushes.
    ///
    /// - Returns: the settlements. The caller writes them to the store, reports the result by `settled` or `refused`,
    ///   and then calls `cancelled`.
    package func cancel(_ selection: CancelSelection, now: Moment) -> [Settlement] {
        var actions = DispatchActions()
        switch selection {
        case .app(let id):
            for app in environments(of: id) {
                update(app, now: now, &actions) { $0.cancel(now: now, &$1) { _ in true } }
            }
        case .request(let id):
            for app in apps {
                update(app, now: now, &actions) { $0.cancel(now: now, &$1) { $0.requestID == id } }
            }
        case .ids(let ids):
            let wanted = Dictionary(grouping: ids, by: \.batch).mapValues { Set($0.map { UInt16($0.index) }) }
            let leases = shared.withLock { shared in wanted.keys.sorted().compactMap { shared.lease(of: $0) } }
            update(leases, now: now, &actions) { state, leases, actions in
                for lease in leases { state.cancel(wanted[lease.batch] ?? [], of: lease, now: now, &actions) }
            }
        }
        return actions.settlements.map(\.settlement)
    }

    /// The settlements of `cancel` under these leases are written, or are going to be.
    package func cancelled(_ leases: [Lease], now: Moment, _ actions: inout DispatchActions) {
        update(leases, now: now, &actions) { $0.releaseFinished($1, now: now, &$2) }
    }

    // MARK: Drain

    /// Stops claims, reservations and sends, and returns unsent batches to the store unchanged.
    package func drain(now: Moment, _ actions: inout DispatchActions) {
        shared.withLock { $0.isDraining = true }
        for app in apps { update(app, now: now, &actions) { $0.drain(now: now, &$1) } }
    }

    // MARK: State

    private func environments(of id: AppID) -> [AppDispatch] {
        APNSEnvironment.allCases.compactMap { existing(AppEnvironment(id, $0)) }
    }

    /// Why a push of `app` that is accepted now would not be sent immediately; nil if it would.
    package func delay(of app: AppEnvironment, now: Moment) -> DeliveryDelay? {
        existing(app)?.state.withLock { $0.delay(now: now.monotonic) }
    }

    /// The worst state among the app's breakers, its credentials and the breakers of its endpoints.
    package func breakerState(of id: AppID) -> CircuitBreaker.State {
        environments(of: id).map { app in app.state.withLock { $0.breakerState } }
            .max { $0.rawValue < $1.rawValue } ?? .closed
    }

    /// Leases of the quarantined batches in memory.
    package var quarantined: Set<Lease> { shared.withLock { $0.quarantine.leases } }
    package var isDraining: Bool { shared.withLock { $0.isDraining } }
    /// Whether no batch is in memory.
    package var isEmpty: Bool { shared.withLock { $0.isEmpty } }
    /// Occupied capacity, reservations included.
    package var pushesInMemory: Int { shared.withLock { $0.pushes.total } }
    /// Pushes that were handed to the clients, or are about to be.
    package var pushesInFlight: Int { apps.reduce(0) { sum, app in sum + app.state.withLock { $0.inFlight.total } } }
    /// Whether pushes are in flight.
    package var hasUnanswered: Bool { pushesInFlight > 0 }
}

extension AppStateMachine {
    mutating func setPaused(_ isPaused: Bool, now: Moment, _ actions: inout DispatchActions) {
        guard isPaused != self.isPaused else { return }
        self.isPaused = isPaused
        // Claims made during a pause skip the app, so they prove nothing about its backlog.
        shared.withLock { $0.assumeBacklog(of: number) }
        if isPaused { returnUnsent(now: now, &actions) }
    }

    /// Cancels the unsent pushes of the batches that `isSelected` selects.
    mutating func cancel(now: Moment, _ actions: inout DispatchActions, where isSelected: (Batch) -> Bool) {
        let selected = works.values.filter { $0.unsentCount > 0 && isSelected($0.claimed.batch) }
        for work in selected.sorted(by: { $0.key < $1.key }) { cancel(work, now: now, &actions) { _ in true } }
    }

    /// Cancels unsent pushes of one batch.
    mutating func cancel(_ indexes: Set<UInt16>, of lease: Lease, now: Moment, _ actions: inout DispatchActions) {
        guard let work = work(of: lease) else { return }
        cancel(work, now: now, &actions) { indexes.contains($0.index) }
    }

    private mutating func cancel(
        _ work: BatchWork, now: Moment, _ actions: inout DispatchActions, where isSelected: (PendingPush) -> Bool
    ) {
        // The caller writes cancellations itself. Earlier settlements may not be written yet, and must not find the
        // lease ended: then `releaseFinished` ends it.
        settleUnsent(
            work.key, as: .cancelled, .cancelled, endsLease: !work.hasSettlements, now: now, &actions,
            where: isSelected
        )
    }

    /// Ends the leases of batches that have no pushes left.
    mutating func releaseFinished(_ leases: [Lease], now: Moment, _ actions: inout DispatchActions) {
        for lease in leases {
            guard let work = work(of: lease) else { continue }
            let release = finish(work.key, mayHaveEnded: true)
            if release.endsLease { append(to: &actions, work, release: release, now: now) }
        }
    }
}
