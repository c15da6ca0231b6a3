import APNSWire
package import PushModel
package import PushStore

extension DispatchStateMachine {
    // MARK: Pause

    /// Stops or resumes sending for an app. A pause returns its waiting batches to the store.
    package mutating func setPaused(
        _ isPaused: Bool, app: AppID, now: Moment, _ actions: inout DispatchActions
    ) {
        let index = index(of: app)
        guard upstreams[index].isPaused != isPaused else { return }
        upstreams[index].isPaused = isPaused
        // Claims made during a pause skip the app, so they prove nothing about its backlog.
        buffer.assumeBacklog(of: index)
        if isPaused { returnWaiting(of: index, now: now, &actions) }
        publishDelays(now: now.monotonic, &actions)
        actions.wantsClaim = true
    }

    // MARK: Cancel

    /// Which waiting pushes to cancel.
    package enum CancelSelection: Sendable {
        case ids([PushID])
        /// The batches of one bulk request.
        case request(String)
        case app(AppID)
    }

    /// Cancels waiting pushes.
    ///
    /// - Returns: the settlements. The caller writes them to the store and reports the result by `settled` or
    ///   `refused`.
    package mutating func cancel(_ selection: CancelSelection, now: Moment) -> [Settlement] {
        var actions = DispatchActions()
        switch selection {
        case .app(let app): cancelWaiting(now: now, &actions) { $0.app == app }
        case .request(let id): cancelWaiting(now: now, &actions) { $0.claimed.batch.requestID == id }
        case .ids(let ids):
            let wanted = Dictionary(grouping: ids, by: \.batch).mapValues { Set($0.map { UInt16($0.index) }) }
            for ticket in buffer.waiting(where: { wanted[$0.claimed.batch.id] != nil }) {
                guard let work = buffer.work(ticket), let indexes = wanted[work.claimed.batch.id] else { continue }
                settleUnsent(work, as: .cancelled, .cancelled, now: now, &actions) { indexes.contains($0.index) }
            }
        }
        return actions.settlements.map(\.settlement)
    }

    private mutating func cancelWaiting(
        now: Moment, _ actions: inout DispatchActions, where isWanted: (DispatchBuffer.Work) -> Bool
    ) {
        for ticket in buffer.waiting(where: isWanted) {
            guard let work = buffer.work(ticket) else { continue }
            settleUnsent(work, as: .cancelled, .cancelled, now: now, &actions) { _ in true }
        }
    }

    // MARK: State and delays

    /// The worst state among the app's breaker, its credential and the breaker of its endpoint.
    package func breakerState(of app: AppID) -> Breaker.State {
        guard let index = buffer.existingIndex(of: app) else { return .closed }
        let upstream = upstreams[index]
        let credential: Breaker.State =
            !upstream.credential.isRefused ? .closed : upstream.credential.isProbing ? .halfOpen : .open
        return [upstream.breaker.state, endpoints[upstream.endpointIndex].breaker.state, credential]
            .max { $0.rawValue < $1.rawValue } ?? .closed
    }

    /// Appends the delays of all apps to the actions, if they have changed.
    mutating func publishDelays(now: Duration, _ actions: inout DispatchActions) {
        var new: [AppID: DeliveryDelay] = [:]
        for index in upstreams.indices {
            if let delay = delay(of: index, now: now) { new[buffer.app(at: index)] = delay }
        }
        guard new != delays else { return }
        delays = new
        actions.delays = new
    }

    /// Batches that wait in the store for less than this are no backlog.
    private static let backlogTimeout: Duration = .seconds(2)

    private func delay(of index: Int, now: Duration) -> DeliveryDelay? {
        let upstream = upstreams[index]
        let endpoint = endpoints[upstream.endpointIndex]
        if upstream.isPaused { return DeliveryDelay(reason: .paused, estimate: nil) }
        if let probesIn = upstream.credential.timeUntilProbe(now: now) {
            return DeliveryDelay(reason: .credentialRefused, estimate: Self.wholeSeconds(probesIn))
        }
        for breaker in [endpoint.breaker, upstream.breaker]
        where breaker.state != .closed && !breaker.hasOnlyGoodProbes {
            let remaining = breaker.remainingOpenTime(now: now) ?? configuration.breaker.probeTimeout
            return DeliveryDelay(reason: .apnsUnreachable, estimate: Self.wholeSeconds(remaining))
        }
        let waiting = Double(buffer.pushesWaiting(of: index))
        if let rate = upstream.rate, upstream.waitsForRate, waiting > 0 {
            return DeliveryDelay(
                reason: .rateLimited, estimate: Self.wholeSeconds(.seconds(waiting / rate.perSecond))
            )
        }
        guard let since = upstream.backlogSince, now - since >= Self.backlogTimeout else { return nil }
        // Covers the batches in memory; the length of the queue in the store is unknown here.
        let estimate = upstream.answersPerSecond >= 1 ? Duration.seconds(waiting / upstream.answersPerSecond) : nil
        return DeliveryDelay(reason: .backlog, estimate: estimate.map(Self.wholeSeconds))
    }

    /// At least one second, rounded up: estimates are no more precise, and this way they change less often.
    private static func wholeSeconds(_ duration: Duration) -> Duration {
        .seconds(max(1, (duration.milliseconds + 999) / 1000))
    }
}
