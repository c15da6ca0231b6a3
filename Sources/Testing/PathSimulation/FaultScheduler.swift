/// Injects the faults of a plan at random times until the simulation heals.
final class FaultScheduler {
    unowned let simulation: Simulation

    init(simulation: Simulation) {
        self.simulation = simulation
    }

    func start() {
        for fault in InjectedFault.allCases where simulation.plan.faults.contains(fault) && action(for: fault) != nil {
            schedule(fault)
        }
    }

    private func schedule(_ fault: InjectedFault) {
        simulation.after(simulation.random.around(simulation.plan.faultEvery)) { [simulation] in
            guard !simulation.isHealed else { return }
            self.action(for: fault)?()
            self.schedule(fault)
        }
    }

    /// Steps the wall clock of a gateway. Prefers a paused one: clocks are often set when a machine resumes.
    private func stepClock() {
        let paused = simulation.gateways.filter { $0.condition == .paused }
        let gateway = simulation.random.pick(paused.isEmpty ? simulation.gateways : paused)
        gateway.stepClock(by: simulation.random.pick([-3600, -60, -1, 1, 60, 3600]))
    }

    /// The effect of a fault; nil for faults that are injected by chance at single steps, or once per run.
    private func action(for fault: InjectedFault) -> (() -> Void)? {
        let simulation = simulation
        func window(_ milliseconds: ClosedRange<Int>) -> () -> Void {
            { simulation.activate(fault, for: simulation.random.within(milliseconds) * .millisecond) }
        }
        func onSomeGateway(_ action: @escaping (ModelGateway) -> Void) -> () -> Void {
            { action(simulation.random.pick(simulation.gateways)) }
        }
        func onBusyGateway(_ action: @escaping (ModelGateway) -> Void) -> () -> Void {
            {
                let busy = simulation.gateways.filter { $0.pushesInMemory > 0 }
                action(simulation.random.pick(busy.isEmpty ? simulation.gateways : busy))
            }
        }
        switch fault {
        case .storeSlow: return window(1_000...8_000)
        case .storeOutage: return window(300...25_000)
        case .storeFull: return window(1_000...10_000)
        case .apnsErrors: return window(1_000...10_000)
        case .apnsRetryAfter: return window(1_000...6_000)
        case .apnsSlow: return window(2_000...10_000)
        case .apnsDown: return window(1_000...20_000)
        case .tokenExpiry: return window(200...5_000)
        case .keyRefused: return window(200...15_000)
        case .streamLimit: return window(1_000...10_000)
        case .gatewayCrash: return onSomeGateway { $0.crash() }
        case .gatewayPause:
            return onBusyGateway { $0.pause(for: simulation.random.within(200...60_000) * .millisecond) }
        case .gatewayRestart: return onSomeGateway { $0.drain() }
        case .clockStep: return stepClock
        case .storePowerCut:
            return { simulation.store.crash(down: simulation.random.within(200...2_000) * .millisecond) }
        case .connectionLoss: return { simulation.apns.loseConnection() }
        case .blackHole: return { simulation.apns.blackHole() }
        case .goAway: return { simulation.apns.goAway() }
        case .crashBetweenSteps, .clockDrift, .storeLostReply, .apnsStall, .streamRefused, .streamReset, .poison:
            return nil
        }
    }
}
