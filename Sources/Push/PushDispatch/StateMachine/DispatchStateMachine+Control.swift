import APNSWire
package import PushModel
package import PushStore

extension DispatchStateMachine {
    // MARK: Pausing

    /// Stops or resumes the sends of an app. What was not sent goes back to the store, which keeps it.
    package mutating func setPaused(
        _ isPaused: Bool, app: AppID, now: Moment, _ effects: inout DispatchActions
    ) {
        let index = index(of: app)
        guard gates[index].isPaused != isPaused else { return }
        gates[index].isPaused = isPaused
        // While it was paused, the store's answers said nothing of it.
        machine.backlogUnknown(of: index)
        if isPaused { giveBackWaiting(of: index, now: now, &effects) }
        publishDelays(now: now.monotonic, &effects)
        effects.wantsClaim = true
    }

    // MARK: Cancelling

    package enum Cancelled: Sendable {
        case ids([PushID])
        case request(String)
        case app(AppID)
    }

    /// Takes back what waits here and was not sent. What comes back must become durable, and then be reported by
    /// `settled` or `refused`.
    package mutating func cancel(_ cancelled: Cancelled, now: Moment) -> [Settlement] {
        var effects = DispatchActions()
        switch cancelled {
        case .app(let app): cancelWaiting(now: now, &effects) { $0.app == app }
        case .request(let id): cancelWaiting(now: now, &effects) { $0.claimed.batch.requestID == id }
        case .ids(let ids):
            let wanted = Dictionary(grouping: ids, by: \.batch).mapValues { Set($0.map { UInt16($0.index) }) }
            for ticket in machine.waiting(where: { wanted[$0.claimed.batch.id] != nil }) {
                guard let work = machine.work(ticket), let indexes = wanted[work.claimed.batch.id] else { continue }
                end(work, with: .cancelled, .cancelled, now: now, &effects) { indexes.contains($0.index) }
            }
        }
        return effects.news.map(\.settlement)
    }

    private mutating func cancelWaiting(
        now: Moment, _ effects: inout DispatchActions, where isWanted: (DispatchBuffer.Work) -> Bool
    ) {
        for ticket in machine.waiting(where: isWanted) {
            guard let work = machine.work(ticket) else { continue }
            end(work, with: .cancelled, .cancelled, now: now, &effects) { _ in true }
        }
    }

    // MARK: What can be told

    /// How it stands with the way to APNs of an app: the worst of its breakers.
    package func breakerState(of app: AppID) -> Breaker.State {
        guard let index = machine.place(of: app) else { return .closed }
        let gate = gates[index]
        let credential: Breaker.State =
            !gate.credential.isRefused ? .closed : gate.credential.isProbing ? .halfOpen : .open
        return [gate.breaker.state, environments[gate.environment].breaker.state, credential]
            .max { $0.rawValue < $1.rawValue } ?? .closed
    }

    mutating func publishDelays(now: Duration, _ effects: inout DispatchActions) {
        var new: [AppID: DeliveryDelay] = [:]
        for index in gates.indices {
            if let delay = delay(of: index, now: now) { new[machine.app(at: index)] = delay }
        }
        guard new != delays else { return }
        delays = new
        effects.delays = new
    }

    /// How long batches must have waited in the store to be called a backlog.
    private static let backlogTimeout: Duration = .seconds(2)

    private func delay(of index: Int, now: Duration) -> DeliveryDelay? {
        let gate = gates[index]
        let environment = environments[gate.environment]
        if gate.isPaused { return DeliveryDelay(reason: .paused, estimate: nil) }
        if let probesIn = gate.credential.probesIn(now: now) {
            return DeliveryDelay(reason: .credentialRefused, estimate: Self.wholeSeconds(probesIn))
        }
        for breaker in [environment.breaker, gate.breaker] where breaker.state != .closed && !breaker.isPromising {
            let left = breaker.opensFor(now: now) ?? configuration.breaker.probeTimeout
            return DeliveryDelay(reason: .apnsUnreachable, estimate: Self.wholeSeconds(left))
        }
        let waiting = Double(machine.pushesWaiting(of: index))
        if let rate = gate.rate, gate.waitsForRate, waiting > 0 {
            return DeliveryDelay(
                reason: .rateLimited, estimate: Self.wholeSeconds(.seconds(waiting / rate.perSecond))
            )
        }
        guard let since = gate.backlogSince, now - since >= Self.backlogTimeout else { return nil }
        // Of what is in memory; how much waits in the store is not known here.
        let estimate = gate.answersPerSecond >= 1 ? Duration.seconds(waiting / gate.answersPerSecond) : nil
        return DeliveryDelay(reason: .backlog, estimate: estimate.map(Self.wholeSeconds))
    }

    /// Rounded up, and one at least: a guess is no better than that, and changes less often.
    private static func wholeSeconds(_ duration: Duration) -> Duration {
        .seconds(max(1, (duration.milliseconds + 999) / 1000))
    }
}
