/// Makes the faults of a plan happen, at random moments until the run is healed.
final class FaultScheduler {
    unowned let world: World

    init(world: World) {
        self.world = world
    }

    func start() {
        for fault in Fault.allCases where world.plan.faults.contains(fault) && strike(fault) != nil { schedule(fault) }
    }

    private func schedule(_ fault: Fault) {
        world.after(world.random.around(world.plan.faultEvery)) { [world] in
            guard !world.isHealed else { return }
            self.strike(fault)?()
            self.schedule(fault)
        }
    }

    /// A clock that was wrong is set most often when a machine wakes up.
    private func stepClock() {
        let asleep = world.gateways.filter { $0.condition == .paused }
        let gateway = world.random.pick(asleep.isEmpty ? world.gateways : asleep)
        gateway.stepClock(by: world.random.pick([-3600, -60, -1, 1, 60, 3600]))
    }

    /// What a fault does when it strikes; nil for those that strike by chance at each step, or once.
    private func strike(_ fault: Fault) -> (() -> Void)? {
        let world = world
        func window(_ milliseconds: ClosedRange<Int>) -> () -> Void {
            { world.open(fault, for: world.random.within(milliseconds) * .millisecond) }
        }
        func onSomeGateway(_ action: @escaping (ModelGateway) -> Void) -> () -> Void {
            { action(world.random.pick(world.gateways)) }
        }
        func onBusyGateway(_ action: @escaping (ModelGateway) -> Void) -> () -> Void {
            {
                let busy = world.gateways.filter { $0.pushesInMemory > 0 }
                action(world.random.pick(busy.isEmpty ? world.gateways : busy))
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
        case .streamLimit: return window(1_000...10_000)
        case .gatewayCrash: return onSomeGateway { $0.crash() }
        case .gatewayPause: return onBusyGateway { $0.pause(for: world.random.within(200...60_000) * .millisecond) }
        case .gatewayRestart: return onSomeGateway { $0.drain() }
        case .clockStep: return stepClock
        case .storePowerCut: return { world.store.crash(down: world.random.within(200...2_000) * .millisecond) }
        case .connectionLoss: return { world.apns.loseConnection() }
        case .blackHole: return { world.apns.blackHole() }
        case .goAway: return { world.apns.goAway() }
        case .crashBetweenSteps, .clockDrift, .storeLostReply, .apnsStall, .streamRefused, .streamReset, .poison:
            return nil
        }
    }
}
