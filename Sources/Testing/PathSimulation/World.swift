import PushModel
import PushStore

/// Everything in one run: one thread, one virtual clock, one source of chance.
final class World {
    let plan: RunPlan
    let bug: PlantedBug?
    var random: SimulationRandom
    let checker: Checker
    private(set) var now: Ticks = 0
    private(set) var events = 0
    private(set) var record: Trace
    private var heap = EventHeap()
    private var windows: [Fault: Ticks] = [:]
    private(set) var healedAt: Ticks?
    let apps: [AppID]

    // Set once, right after the start.
    private(set) var store: ModelStore!
    private(set) var apns: ModelAPNs!
    private(set) var applications: ModelApplications!
    private(set) var gateways: [ModelGateway] = []

    init(seed: UInt64, steps: Int, bug: PlantedBug?, keepsTrace: Bool) {
        random = SimulationRandom(seed: seed)
        plan = RunPlan(steps: steps, random: &random)
        self.bug = bug
        checker = Checker(plan: plan)
        record = Trace(keepsLines: keepsTrace)
        apps = plan.apps.indices.map { AppID("app-\($0 + 1)") }
    }

    // MARK: Time

    /// The true time of day.
    var wall: WallTime { WallTime(milliseconds: 1_790_000_000_000 + Int64(now / .millisecond)) }

    func after(_ delay: Ticks, _ action: @escaping () -> Void) {
        heap.add(at: now + max(delay, 0), action)
    }

    func trace(
        _ mark: Trace.Mark, _ who: Int = 0, _ subject: Int = 0, _ amount: Int = 0,
        _ text: @autoclosure () -> String = ""
    ) {
        record.note(mark, at: now, who, subject, amount, text())
    }

    // MARK: Faults

    var isHealed: Bool { healedAt != nil }

    func isActive(_ fault: Fault) -> Bool {
        guard !isHealed, let end = windows[fault] else { return false }
        return now < end
    }

    func open(_ fault: Fault, for duration: Ticks) { windows[fault] = now + duration }

    /// Whether a fault that strikes by chance does so now.
    func draws(_ fault: Fault, _ probability: Double) -> Bool {
        !isHealed && plan.faults.contains(fault) && random.chance(probability)
    }

    /// Whether nothing kept the holder of a lease that has run out from renewing it.
    ///
    /// Renewal comes every 5 s, so who had 8 s in a row had his chance.
    func couldRenew(_ lease: Lease, _ held: ModelStore.Held) -> Bool {
        let gateway = gateways[held.holder.gateway - 1]
        guard gateway.processLife == held.holder, gateway.condition == .running, gateway.knownLeases.contains(lease)
        else { return false }
        let calm = OutageLog.longestCalm(
            in: held.until - held.duration...held.until, [gateway.outages, store.outages])
        return calm >= 8 * .second
    }

    // MARK: The run

    func run() {
        store = ModelStore(world: self)
        apns = ModelAPNs(world: self)
        gateways = (1...plan.gateways).map { ModelGateway(world: self, number: $0) }
        applications = ModelApplications(world: self)
        for gateway in gateways { gateway.start() }
        applications.start()
        FaultScheduler(world: self).start()
        after(plan.load) { [self] in heal() }
        lookEverySecond()
        while checker.violation == nil, let event = heap.next() {
            now = event.at
            checker.now = now
            events += 1
            event.action()
        }
        trace(.end, 0, checker.ended, checker.deliveries)
        // Nothing may hold on to the world when it is over.
        heap = EventHeap()
        for gateway in gateways { gateway.end() }
    }

    /// From here on nothing goes wrong any more, and everything has to come to its end.
    private func heal() {
        healedAt = now
        trace(.healed)
        store.heal()
        for gateway in gateways { gateway.heal() }
    }

    private func lookEverySecond() {
        // Not quite a second, so as not to meet the idle clocks always at the same point.
        after(.second + 13 * .millisecond) { [self] in
            Audit.conservation(self)
            guard let healedAt else { return lookEverySecond() }
            if applications.isDone, Audit.isAtRest(self) {
                Audit.atTheEnd(self)
                // The heap is left as it is: what is in it are the clocks of idle gateways.
                heap = EventHeap()
                return
            }
            Audit.progress(self, healedAt: healedAt)
            lookEverySecond()
        }
    }

    /// Whether nothing can happen before `store.nextDue`, so that the idle clocks may skip to it.
    var nextDueWhenIdle: Ticks? {
        guard isHealed, applications.isDone, !store.live.isEmpty, gateways.allSatisfy({ $0.wallOffset == .zero }),
            store.live.allSatisfy({ $0.lease == nil && $0.due > store.wall + .seconds(2) })
        else { return nil }
        let due = store.live.reduce(WallTime.distantFuture) { min($0, $1.due) }
        return now + Int(due.milliseconds - store.wall.milliseconds) * .millisecond
    }
}
