package import PushModel
import PushStore

extension DispatchStateMachine {
    /// Whether pushes of the app may go now.
    func admission(of index: Int, now: Duration) -> SendPermit {
        let place = gates[index].environment
        guard !machine.isDraining, !gates[index].isPaused, gates[index].breaker.state != .open,
            environments[place].breaker.state != .open
        else { return .shut }
        var probes = Int.max
        if gates[index].credential.isRefused {
            guard gates[index].credential.wantsProbe(now: now) else {
                return gates[index].credential.isProbing ? .wait : .shut
            }
            probes = 1
        }
        if gates[index].breaker.state == .halfOpen { probes = min(probes, gates[index].breaker.probesLeft()) }
        if environments[place].breaker.state == .halfOpen {
            probes = min(
                probes, environments[place].breaker.probesLeft(for: index, isShared: environments[place].isShared)
            )
        }
        return probes == .max ? .open : probes == 0 ? .wait : .probes(probes)
    }

    /// Pushes of `ticket` go as probes, for every gate that lets only probes through.
    mutating func probe(_ ticket: UInt64, of index: Int, count: Int, now: Duration) {
        let place = gates[index].environment
        if gates[index].credential.isRefused { gates[index].credential.probe(ticket, now: now) }
        if gates[index].breaker.state == .halfOpen { gates[index].breaker.probe(ticket, count: count, now: now) }
        if environments[place].breaker.state == .halfOpen {
            environments[place].breaker.probe(ticket, count: count, group: index, now: now)
        }
    }

    /// Opens the breaker of whoever is at fault: of the environment, unless another app shows that APNs can be reached;
    /// else of the app alone, so that its fault stops nobody else.
    mutating func openIfFailing(_ index: Int, now: Moment, _ effects: inout DispatchActions) {
        let place = gates[index].environment
        let time = now.monotonic
        if environments[place].breaker.isFailing(now: time),
            !environments[place].apps.contains(where: { gates[$0].breaker.isHealthy(now: time) })
        {
            environments[place].breaker.open(now: time, draw: generator.draw())
            for app in environments[place].apps { gates[app].breaker.forgive() }
            environmentChanged(place, .opened, now: now, &effects)
        } else if gates[index].breaker.isFailing(now: time), environments[place].breaker.state == .closed {
            gates[index].breaker.open(now: time, draw: generator.draw())
            appChanged(index, .opened, now: now, &effects)
        }
    }

    mutating func environmentChanged(
        _ place: Int, _ change: Breaker.Change, now: Moment, _ effects: inout DispatchActions
    ) {
        guard change != .none else { return }
        effects.events.append(.environment(environments[place].name, environments[place].breaker.state))
        for index in environments[place].apps { connectivityChanged(index, change, now: now, &effects) }
    }

    mutating func appChanged(
        _ index: Int, _ change: Breaker.Change, now: Moment, _ effects: inout DispatchActions
    ) {
        guard change != .none else { return }
        effects.events.append(.app(machine.app(at: index), gates[index].breaker.state))
        connectivityChanged(index, change, now: now, &effects)
    }

    private mutating func connectivityChanged(
        _ index: Int, _ change: Breaker.Change, now: Moment, _ effects: inout DispatchActions
    ) {
        if change == .opened {
            giveBackWaiting(of: index, now: now, &effects)
        } else {
            sendNext(of: index, now: now, &effects)
            effects.wantsClaim = true
        }
    }

    // MARK: Time

    /// Lets time pass; to be called at least every `pollEvery`.
    package mutating func tick(now: Moment, _ effects: inout DispatchActions) {
        passOnTurn(now: now, &effects)
        for place in environments.indices {
            shareBudget(of: place, now: now.monotonic)
            let change = environments[place].breaker.advance(now: now.monotonic, draw: generator.draw())
            environmentChanged(place, change, now: now, &effects)
        }
        for index in gates.indices {
            let change = gates[index].breaker.advance(now: now.monotonic, draw: generator.draw())
            appChanged(index, change, now: now, &effects)
            gates[index].credential.advance(now: now.monotonic, draw: generator.draw())
            if let pushes = gates[index].watch.alarm(now: now.monotonic) {
                effects.events.append(.nothingDelivered(machine.app(at: index), pushes: pushes))
            }
            // Those that wait for their rate, and whatever else waited for time to pass.
            if machine.pushesWaiting(of: index) > 0 { sendNext(of: index, now: now, &effects) }
            measure(index, now: now.monotonic)
        }
        lastTick = now.monotonic
        publishDelays(now: now.monotonic, &effects)
        // Retries and scheduled pushes become due without anybody telling us.
        effects.wantsClaim = true
    }

    /// Suspects that wait here, for their app's rate or behind its other pushes, make those of all apps wait: they go back.
    private mutating func passOnTurn(now: Moment, _ effects: inout DispatchActions) {
        for ticket in machine.quarantinedWaiting {
            guard let index = machine.work(ticket)?.appIndex else { continue }
            giveBack(ticket, now: now, &effects)
            machine.backlogUnknown(of: index)
            gates[index].quarantinedWaitUntil = now.monotonic + AppUpstream.quarantineTurnPause
        }
    }

    /// How long an app that has sent something again is counted among those that share the budget.
    private static let retryMemory: Duration = .seconds(10)

    private mutating func shareBudget(of place: Int, now: Duration) {
        let sharers = environments[place].apps.count { index in
            gates[index].retriedAt.map { now - $0 < Self.retryMemory } ?? false
        }
        for index in environments[place].apps { gates[index].budget.share(among: sharers, now: now) }
    }

    private mutating func measure(_ index: Int, now: Duration) {
        if machine.hasBacklog(index) {
            if gates[index].backlogSince == nil { gates[index].backlogSince = now }
        } else {
            gates[index].backlogSince = nil
        }
        guard let lastTick, now > lastTick else { return }
        let seconds = Double((now - lastTick).milliseconds) / 1000
        // The last few seconds count, whatever the distance between two looks is.
        let weight = min(1, seconds / 3)
        gates[index].answersPerSecond +=
            weight * (Double(gates[index].answered) / max(seconds, 0.001) - gates[index].answersPerSecond)
        gates[index].answered = 0
    }
}
