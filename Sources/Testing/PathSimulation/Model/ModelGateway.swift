import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushStore

/// One gateway process: the real decisions of dispatch and outcome under a shell that keeps virtual time.
///
/// The shell does what `Dispatcher`, `OutcomeRecorder`, `BatchCommitter` and `Gateway` do around their cores, one event
/// after the other; the process may die between any two, and at some steps within one.
final class ModelGateway {
    enum Condition {
        case running, paused, down
    }

    unowned let world: World
    /// From 1.
    let number: Int
    var condition = Condition.down
    var processLife: ProcessLife
    var pausedAt: Ticks = 0
    /// What would have happened while the process stood still.
    var deferred: [() -> Void] = []
    /// When it could not renew its leases.
    let outages = OutageLog()
    /// Leases that it was told of.
    var knownLeases: Set<Lease> = []

    /// Speed of the monotonic clock.
    let rate: Double
    var wallOffset: Duration = .zero
    var wallAtStart = WallTime(milliseconds: 0)

    let configuration: DispatchConfiguration
    var core: DispatchStateMachine
    var buffer = OutcomeBuffer()
    var clients: [ModelAPNsClient] = []
    var isDraining = false
    var requestsUnderWay = 0

    // The claim loop.
    var isClaiming = false
    var wantsClaim = false
    // The outcome writer.
    var isWriting = false
    var isGathering = false

    init(world: World, number: Int) {
        self.world = world
        self.number = number
        processLife = ProcessLife(gateway: number, life: 0)
        rate = world.plan.faults.contains(.clockDrift) ? world.random.pick([0.95, 1.0, 1.05]) : 1
        var configuration = DispatchConfiguration()
        configuration.limits.pushesMax = world.plan.memoryPushes
        configuration.limits.windowPerApp = world.plan.window
        configuration.pollEvery = .milliseconds(500)
        self.configuration = configuration
        core = DispatchStateMachine(configuration: configuration, apps: world.apps, seed: 0)
    }

    // MARK: Clocks

    var wall: WallTime { world.wall + wallOffset }

    /// The clock that expirations are compared with.
    var judgedWall: WallTime { world.bug == .expiryIgnored ? wallAtStart : wall }

    var monotonic: Duration {
        if world.bug == .wallClockLease { return .milliseconds(wall.milliseconds - 1_780_000_000_000) }
        return Duration(ticks: Int(Double(world.now) * rate))
    }

    var moment: Moment { Moment(wall: judgedWall, monotonic: monotonic) }

    func inWorld(_ ticks: Ticks) -> Ticks { rate == 1 ? ticks : Int(Double(ticks) / rate) }

    func stepClock(by seconds: Int) {
        wallOffset += .seconds(seconds)
        world.trace(.clockStep, number, 0, seconds)
    }

    // MARK: Time for this process

    /// Runs `action` after a while of this process' own clock, unless it has died by then.
    func after(_ delay: Ticks, _ action: @escaping () -> Void) { deliver(after: inWorld(delay), action) }

    /// Runs `action` after a while, unless the process has died by then. A process that stands still runs it later.
    func deliver(after delay: Ticks, _ action: @escaping () -> Void) {
        let life = processLife
        world.after(delay) { [self] in run(action, in: life) }
    }

    /// What is done with an answer that this life of the process waits for.
    func awaiting<Answer>(_ action: @escaping (Answer) -> Void) -> (Answer) -> Void {
        let life = processLife
        return { [self] answer in run({ action(answer) }, in: life) }
    }

    func run(_ action: @escaping () -> Void, in life: ProcessLife) {
        guard processLife == life, condition != .down else { return }
        if condition == .paused { deferred.append(action) } else { action() }
    }

    /// At a step where dying hurts.
    func diesHere() -> Bool {
        guard world.draws(.crashBetweenSteps, world.plan.crashAtStep) else { return false }
        crash()
        return true
    }

    /// At a step where standing still hurts: the answer comes to somebody whose lease is over.
    func standsStillHere() {
        guard world.draws(.gatewayPause, 0.02) else { return }
        pause(for: world.random.within(15...60) * .second)
        // A machine that wakes up often has its clock set back.
        if world.plan.faults.contains(.clockStep), world.random.chance(0.5) { stepClock(by: -3600) }
    }

    // MARK: Life

    func start() {
        processLife.life += 1
        condition = .running
        isDraining = false
        if world.isHealed { wallOffset = .zero }
        (isClaiming, wantsClaim, isWriting, isGathering, requestsUnderWay) = (false, false, false, false, 0)
        core = DispatchStateMachine(configuration: configuration, apps: world.apps, seed: world.random.next())
        buffer = OutcomeBuffer()
        clients = world.apps.map { ModelAPNsClient(gateway: self, app: $0) }
        wallAtStart = wall
        knownLeases = []
        world.trace(.started, number)
        // The store in this process has no holder but this one.
        if world.plan.isEmbedded { world.store.releaseAll() }
        askForBatches()
        tickContinually()
        renewContinually()
    }

    func crash() {
        guard condition != .down else { return }
        world.trace(.crashed, number, 0, core.pushesInMemory)
        end()
        world.checker.died(ProcessLife(gateway: number, life: processLife.life - 1))
        if world.plan.isEmbedded { world.store.crash(down: 0) }
        world.after(world.random.within(100...3_000) * .millisecond) { [self] in start() }
    }

    /// Nothing that was planned happens any more.
    func end() {
        condition = .down
        processLife.life += 1
        deferred = []
        world.apns.processDied(self)
        for client in clients { client.abandon() }
    }

    func pause(for duration: Ticks) {
        guard condition == .running else { return }
        condition = .paused
        pausedAt = world.now
        world.trace(.pausedProcess, number)
        deliverResume(after: duration)
    }

    func deliverResume(after duration: Ticks) {
        let life = processLife
        world.after(duration) { [self] in if processLife == life { resume() } }
    }

    func resume() {
        guard condition == .paused else { return }
        condition = .running
        outages.add(pausedAt...world.now)
        world.trace(.resumedProcess, number)
        let waiting = deferred
        deferred = []
        let life = processLife
        for action in waiting where processLife == life { action() }
    }

    /// The faults are over: its clock is set right. If it stands still, it comes back in its time, and learns of it then.
    func heal() {
        guard condition != .down else {
            wallOffset = .zero
            return
        }
        deliver(after: 10 * .millisecond) { [self] in wallOffset = .zero }
    }

    var takesRequests: Bool { condition == .running && !isDraining }
    var pushesInMemory: Int { core.pushesInMemory }
    var isIdle: Bool {
        condition == .running && core.isEmpty && buffer.isIdle && core.pushesInMemory == 0 && requestsUnderWay == 0
            && !isClaiming && !isDraining
    }
}
