import PushModel
import PushStore

/// One run: its models in one thread, with one virtual clock and one random source.
final class Simulation {
    let plan: RunPlan
    let bug: PlantedBug?
    var random: SimulationRandom
    let checker: Checker
    private(set) var now: Ticks = 0
    private(set) var events = 0
    private(set) var eventTrace: Trace
    private var heap = EventHeap()
    private var windows: [InjectedFault: Ticks] = [:]
    private(set) var healedAt: Ticks?
    let apps: [AppID]

    // Set once, at the start of `run`.
    private(set) var store: ModelStore!
    private(set) var apns: ModelAPNs!
    private(set) var applications: ModelApplications!
    private(set) var gateways: [ModelGateway] = []

    init(seed: UInt64, steps: Int, bug: PlantedBug?, keepsTrace: Bool) {
        random = SimulationRandom(seed: seed)
        plan = RunPlan(steps: steps, random: &random)
        self.bug = bug
        checker = Checker(plan: plan)
        eventTrace = Trace(keepsLines: keepsTrace)
        apps = plan.apps.indices.map { AppID("app-\($0 + 1)") }
    }

    // MARK: Time

    /// The correct wall time. The clocks of gateways may deviate from it.
    var wall: WallTime { Self.wall(at: now) }

    static func wall(at now: Ticks) -> WallTime {
        WallTime(milliseconds: 1_790_000_000_000 + Int64(now / .millisecond))
    }

    func after(_ delay: Ticks, _ action: @escaping () -> Void) {
        heap.add(at: now + max(delay, 0), action)
    }

    func trace(
        _ event: Trace.Event, _ gateway: Int = 0, _ subject: Int = 0, _ amount: Int = 0,
        _ text: @autoclosure () -> String = ""
    ) {
        eventTrace.record(event, at: now, gateway, subject, amount, text())
    }

    // MARK: Faults

    var isHealed: Bool { healedAt != nil }

    func isActive(_ fault: InjectedFault) -> Bool {
        guard !isHealed, let end = windows[fault] else { return false }
        return now < end
    }

    func activate(_ fault: InjectedFault, for duration: Ticks) { windows[fault] = now + duration }

    /// Decides at random whether to inject a fault at this step.
    func sampleFault(_ fault: InjectedFault, _ probability: Double) -> Bool {
        !isHealed && plan.faults.contains(fault) && random.chance(probability)
    }

    /// Whether the holder of an expired lease was able to renew it: it ran for 8 s without an outage, and renewals are
    /// every 5 s.
    func hadTimeToRenew(_ lease: Lease, _ held: ModelStore.HeldLease) -> Bool {
        let gateway = gateways[held.holder.gateway - 1]
        guard gateway.processLife == held.holder, gateway.condition == .running, gateway.knownLeases.contains(lease)
        else { return false }
        let quietPeriod = OutageLog.longestQuietPeriod(
            in: held.until - held.duration...held.until, [gateway.outages, store.outages])
        return quietPeriod >= 8 * .second
    }

    /// Whether a gateway was able to settle pushes that expired: it ran for 2.5 s without an outage, and it looks for them
    /// every second.
    func hadTimeToExpire(since: Ticks) -> Bool {
        gateways.contains { gateway in
            guard gateway.condition == .running else { return false }
            let period = max(since, gateway.startedAt)...now
            return OutageLog.longestQuietPeriod(in: period, [gateway.outages, store.outages]) >= 5 * .second / 2
        }
    }

    // MARK: The run

    func run() {
        store = ModelStore(simulation: self)
        apns = ModelAPNs(simulation: self)
        gateways = (1...plan.gateways).map { ModelGateway(simulation: self, number: $0) }
        applications = ModelApplications(simulation: self)
        for gateway in gateways { gateway.start() }
        applications.start()
        FaultScheduler(simulation: self).start()
        after(plan.load) { [self] in heal() }
        auditEverySecond()
        while checker.violation == nil, let event = heap.next() {
            now = event.at
            checker.now = now
            events += 1
            event.action()
        }
        trace(.end, 0, checker.ended, checker.deliveries)
        // Breaks the reference cycles.
        heap = EventHeap()
        for gateway in gateways { gateway.end() }
    }

    /// Ends all faults; from here on every push must be settled in time.
    private func heal() {
        healedAt = now
        trace(.healed)
        store.heal()
        for gateway in gateways { gateway.heal() }
    }

    private func auditEverySecond() {
        // Slightly more than a second, so that audits drift against the ticks of idle gateways.
        after(.second + 13 * .millisecond) { [self] in
            Audit.conservation(self)
            Audit.expiry(self)
            guard let healedAt else { return auditEverySecond() }
            if applications.isDone, Audit.isIdle(self) {
                Audit.finalState(self)
                // The remaining events are ticks of idle gateways.
                heap = EventHeap()
                return
            }
            Audit.progress(self, healedAt: healedAt)
            auditEverySecond()
        }
    }

    /// The time of the next due batch if all gateways are idle until then, so that their ticks may skip to it.
    var nextDueWhenIdle: Ticks? {
        guard isHealed, applications.isDone, !store.live.isEmpty, gateways.allSatisfy({ $0.wallOffset == .zero }),
            store.live.allSatisfy({ $0.lease == nil && $0.due > store.wall + .seconds(2) })
        else { return nil }
        let due = store.live.reduce(WallTime.distantFuture) { min($0, $1.due) }
        return now + Int(due.milliseconds - store.wall.milliseconds) * .millisecond
    }
}
