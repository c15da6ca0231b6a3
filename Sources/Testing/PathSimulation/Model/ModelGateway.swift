import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushStore

/// A model of a gateway: the real state machines of dispatch and outcome in a shell that uses virtual time.
///
/// The shell performs the tasks of `Dispatcher`, `OutcomeRecorder`, `BatchCommitter` and `Gateway`, one event at a
/// time. The process may crash between two events and at critical steps within one.
final class ModelGateway {
    enum Condition {
        case running, paused, down
    }

    unowned let simulation: Simulation
    /// From 1.
    let number: Int
    var condition = Condition.down
    var processLife: ProcessLife
    var pausedAt: Ticks = 0
    /// Events that became due while the process was paused.
    var deferred: [() -> Void] = []
    /// Periods in which the gateway could not renew its leases.
    let outages = OutageLog()
    /// Leases that this process has received from the store.
    var knownLeases: Set<Lease> = []

    /// Speed of the monotonic clock relative to virtual time.
    let rate: Double
    var wallOffset: Duration = .zero
    var wallAtStart = WallTime(milliseconds: 0)

    let configuration: DispatchConfiguration
    var stateMachine: DispatchStateMachine
    var buffer = OutcomeBuffer()
    var clients: [ModelAPNsClient] = []
    var isDraining = false
    var pendingRequests = 0

    /// When the process started.
    private(set) var startedAt: Ticks = 0

    // The claim loop.
    var isClaiming = false
    var wantsClaim = false
    // The outcome writer.
    var isWriting = false
    var isGathering = false

    init(simulation: Simulation, number: Int) {
        self.simulation = simulation
        self.number = number
        processLife = ProcessLife(gateway: number, life: 0)
        rate = simulation.plan.faults.contains(.clockDrift) ? simulation.random.pick([0.95, 1.0, 1.05]) : 1
        var configuration = DispatchConfiguration()
        configuration.limits.pushesMax = simulation.plan.memoryPushes
        configuration.limits.windowPerApp = simulation.plan.window
        configuration.pollEvery = .milliseconds(500)
        if simulation.bug == .outageCostsAttempts {
            (configuration.breaker.callsMin, configuration.breaker.runMin) = (.max, .max)
            configuration.policy.attemptsMax = 3
        }
        self.configuration = configuration
        stateMachine = DispatchStateMachine(
            configuration: configuration, apps: simulation.apps.map { AppEnvironment($0) }, seed: 0)
    }

    // MARK: Clocks

    var wall: WallTime { simulation.wall + wallOffset }

    /// The time that expirations are compared with.
    var expirationClock: WallTime { simulation.bug == .expiryIgnored ? wallAtStart : wall }

    var monotonic: Duration {
        if simulation.bug == .wallClockLease { return .milliseconds(wall.milliseconds - 1_780_000_000_000) }
        return Duration(ticks: Int(Double(simulation.now) * rate))
    }

    var now: Moment { Moment(wall: expirationClock, monotonic: monotonic) }

    /// Converts a duration of the gateway's monotonic clock to virtual time.
    func virtualTicks(_ ticks: Ticks) -> Ticks { rate == 1 ? ticks : Int(Double(ticks) / rate) }

    func stepClock(by seconds: Int) {
        wallOffset += .seconds(seconds)
        simulation.trace(.clockStep, number, 0, seconds)
    }

    // MARK: Events of this process

    /// Runs `action` after a delay of the gateway's own clock, unless the process ends before.
    func after(_ delay: Ticks, _ action: @escaping () -> Void) { deliver(after: virtualTicks(delay), action) }

    /// Runs `action` after a delay in virtual time, unless the process ends before. A paused process runs it on
    /// resumption.
    func deliver(after delay: Ticks, _ action: @escaping () -> Void) {
        let life = processLife
        simulation.after(delay) { [self] in run(action, in: life) }
    }

    /// A completion handler that does nothing after the current process has ended.
    func inThisLife<Result>(_ action: @escaping (Result) -> Void) -> (Result) -> Void {
        let life = processLife
        return { [self] result in run({ action(result) }, in: life) }
    }

    func run(_ action: @escaping () -> Void, in life: ProcessLife) {
        guard processLife == life, condition != .down else { return }
        if condition == .paused { deferred.append(action) } else { action() }
    }

    /// Crashes at random, at a critical step.
    ///
    /// - Returns: whether the process crashed.
    func crashByChance() -> Bool {
        guard simulation.sampleFault(.crashBetweenSteps, simulation.plan.crashAtStep) else { return false }
        crash()
        return true
    }

    /// Pauses at random, at a step where the lease may end before the result arrives.
    func pauseByChance() {
        guard simulation.sampleFault(.gatewayPause, 0.02) else { return }
        pause(for: simulation.random.within(15...60) * .second)
        // Clocks are often set when a machine resumes.
        if simulation.plan.faults.contains(.clockStep), simulation.random.chance(0.5) { stepClock(by: -3600) }
    }

    // MARK: Start and end

    func start() {
        processLife.life += 1
        startedAt = simulation.now
        condition = .running
        isDraining = false
        if simulation.isHealed { wallOffset = .zero }
        (isClaiming, wantsClaim, isWriting, isGathering, pendingRequests) = (false, false, false, false, 0)
        stateMachine = DispatchStateMachine(
            configuration: configuration, apps: simulation.apps.map { AppEnvironment($0) },
            seed: simulation.random.next())
        buffer = OutcomeBuffer()
        clients = simulation.apps.map { ModelAPNsClient(gateway: self, app: $0) }
        wallAtStart = wall
        knownLeases = []
        simulation.trace(.started, number)
        // An embedded store has one process: all leases are those of the previous process.
        if simulation.plan.isEmbedded { simulation.store.releaseAll() }
        requestClaim()
        tickContinually()
        renewContinually()
        expireContinually()
    }

    func crash() {
        guard condition != .down else { return }
        simulation.trace(.crashed, number, 0, stateMachine.pushesInMemory)
        end()
        simulation.checker.crashed(ProcessLife(gateway: number, life: processLife.life - 1))
        if simulation.plan.isEmbedded { simulation.store.crash(down: 0) }
        simulation.after(simulation.random.within(100...3_000) * .millisecond) { [self] in start() }
    }

    /// Ends the process and discards its events.
    func end() {
        condition = .down
        processLife.life += 1
        deferred = []
        simulation.apns.processCrashed(self)
        for client in clients { client.abandon() }
    }

    func pause(for duration: Ticks) {
        guard condition == .running else { return }
        condition = .paused
        pausedAt = simulation.now
        simulation.trace(.pausedProcess, number)
        deliverResume(after: duration)
    }

    func deliverResume(after duration: Ticks) {
        let life = processLife
        simulation.after(duration) { [self] in if processLife == life { resume() } }
    }

    func resume() {
        guard condition == .paused else { return }
        condition = .running
        outages.add(pausedAt...simulation.now)
        simulation.trace(.resumedProcess, number)
        let waiting = deferred
        deferred = []
        let life = processLife
        for action in waiting where processLife == life { action() }
    }

    /// Corrects the wall clock. A paused process resumes first.
    func heal() {
        guard condition != .down else {
            wallOffset = .zero
            return
        }
        deliver(after: 10 * .millisecond) { [self] in wallOffset = .zero }
    }

    var isAccepting: Bool { condition == .running && !isDraining }
    var pushesInMemory: Int { stateMachine.pushesInMemory }
    var isIdle: Bool {
        condition == .running && stateMachine.isEmpty && buffer.isIdle && stateMachine.pushesInMemory == 0
            && pendingRequests == 0
            && !isClaiming && !isDraining
    }
}
