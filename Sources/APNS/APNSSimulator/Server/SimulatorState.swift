import APNSWire
import NIOCore
import Synchronization

/// The state that all connections share.
///
/// Connections record what they received once per read, not once per push. They look up token states and faults for
/// each push, but only if any are scripted.
final class SimulatorState: Sendable {
    /// The largest number of tokens with a state of their own.
    static let tokenStatesMax = 1_000_000

    /// The largest number of refused pushes that are kept for the phone page.
    static let refusedMax = 30

    private struct Records {
        var counters = SimulatorCounters()
        var pushes: Ring<ReceivedPush>
        var takenIDs: Ring<APNSID>
        /// The newest pushes that were answered with an error.
        var refused = Ring<ReceivedPush>(capacity: SimulatorState.refusedMax)
        var connectionsEver: UInt64 = 0
    }

    private struct Tokens {
        var states: [[UInt8]: SimulatedTokenState] = [:]
        var rules: [TokenRule] = []
        /// Counts resets. A delayed token state is dropped if a reset happened in between.
        var resets = 0
    }

    private struct Faults {
        var plan = FaultPlan()
        var since = NIODeadline.now()
    }

    let configuration: SimulatorConfiguration
    let verifier: ProviderTokenVerifier
    let topics: TopicTable
    let devices: Devices

    private let records: Mutex<Records>
    private let tokens = Mutex(Tokens())
    private let faults = Mutex(Faults())
    private let currentSettings: Mutex<SimulatorSettings>
    private let hasTokenStates = Atomic(false)
    private let triggers = Atomic<UInt8>(0)
    private let connections = Mutex<[ObjectIdentifier: any Channel]>([:])
    private let connectionRateLimiter = ConnectionRateLimiter()
    let tokenRateLimiter = TokenRateLimiter()
    let channels = ChannelStore()
    /// Runs delayed changes.
    private let loop: any EventLoop

    init(_ configuration: SimulatorConfiguration, loop: any EventLoop) {
        self.configuration = configuration
        self.loop = loop
        currentSettings = Mutex(configuration.settings)
        verifier = ProviderTokenVerifier(configuration)
        topics = TopicTable(allowed: configuration.topics)
        devices = Devices(configuration.devices, clock: configuration.clock)
        records = Mutex(
            Records(
                pushes: Ring(capacity: configuration.pushLogMax), takenIDs: Ring(capacity: configuration.idLogMax)
            )
        )
    }

    // MARK: Settings

    var settings: SimulatorSettings { currentSettings.withLock { $0 } }

    /// Replaces the settings, also for open connections.
    func setSettings(_ settings: SimulatorSettings) { _ = changeSettings { $0 = settings } }

    /// Changes the settings and notifies open connections.
    ///
    /// - Returns: nil on success; otherwise every problem of the new settings, which are then discarded.
    func changeSettings(_ change: (inout SimulatorSettings) -> Void) -> [String]? {
        let problems = currentSettings.withLock { settings in
            var new = settings
            change(&new)
            let problems = new.problems()
            if problems.isEmpty { settings = new }
            return problems
        }
        guard problems.isEmpty else { return problems }
        for channel in openConnections {
            channel.pipeline.fireUserInboundEventTriggered(SimulatorConnection.SettingsChanged())
        }
        return nil
    }

    // MARK: Connections

    /// Admits a new connection, or counts it as refused.
    func tryAdmitConnection() -> Bool {
        let settings = settings
        guard settings.connectionRate != nil || settings.connectionsMax != nil else { return true }
        let open = connections.withLock { $0.count }
        if connectionRateLimiter.tryAcquire(settings, open: open) { return true }
        records.withLock { $0.counters.connectionsRefused += 1 }
        return false
    }

    /// - Returns: The connection's number, from 1.
    func connectionOpened(_ channel: any Channel) -> UInt64 {
        connections.withLock { $0[ObjectIdentifier(channel)] = channel }
        return records.withLock { records in
            records.counters.connectionsAccepted += 1
            records.counters.connectionsOpen += 1
            records.connectionsEver += 1
            return records.connectionsEver
        }
    }

    func connectionClosed(_ channel: any Channel) {
        _ = connections.withLock { $0.removeValue(forKey: ObjectIdentifier(channel)) }
        records.withLock { $0.counters.connectionsOpen -= 1 }
    }

    var openConnections: [any Channel] { connections.withLock { Array($0.values) } }

    /// Adds what a connection has received since its last call.
    func record(_ counters: SimulatorCounters, takenIDs: [APNSID], pushes: [ReceivedPush]) {
        records.withLock { records in
            records.counters.add(counters)
            for id in takenIDs { records.takenIDs.append(id) }
            for var push in pushes {
                push.sequence = records.pushes.total + 1
                records.pushes.append(push)
                if !push.isTaken, !push.reason.isEmpty { records.refused.append(push) }
            }
        }
        if !pushes.isEmpty { devices.received(pushes) }
    }

    // MARK: Scripts

    /// The token's own state, or the state of the first rule that matches it.
    func tokenState(of token: [UInt8]) -> SimulatedTokenState? {
        guard hasTokenStates.load(ordering: .relaxed), !token.isEmpty else { return nil }
        return tokens.withLock { tokens in
            tokens.states[token] ?? tokens.rules.first { $0.pattern.matches(token) }?.state
        }
    }

    /// - Returns: false if too many tokens have a state. A delayed state is dropped silently in that case.
    func setTokenState(_ state: SimulatedTokenState?, of token: [UInt8], after delay: Duration = .zero) -> Bool {
        guard delay == .zero else {
            let resets = tokens.withLock { $0.resets }
            loop.scheduleTask(in: TimeAmount(delay)) {
                guard self.tokens.withLock({ $0.resets == resets }) else { return }
                _ = self.setTokenState(state, of: token)
            }
            return true
        }
        return tokens.withLock { tokens in
            let isNew = state != nil && tokens.states[token] == nil
            if isNew, tokens.states.count >= Self.tokenStatesMax { return false }
            tokens.states[token] = state
            updateHasTokenStates(tokens)
            devices.tokenStateChanged(token)
            return true
        }
    }

    func setTokenRules(_ rules: [TokenRule]) {
        tokens.withLock { tokens in
            tokens.rules = rules
            updateHasTokenStates(tokens)
        }
    }

    private func updateHasTokenStates(_ tokens: Tokens) {
        hasTokenStates.store(!tokens.states.isEmpty || !tokens.rules.isEmpty, ordering: .relaxed)
    }

    /// The triggers for which the fault plan has rules.
    var faultTriggers: FaultTriggers { FaultTriggers(rawValue: triggers.load(ordering: .relaxed)) }

    func evaluateFaults(_ candidate: FaultCandidate) -> Fault? {
        faults.withLock { faults in
            var candidate = candidate
            candidate.elapsed = .nanoseconds((NIODeadline.now() - faults.since).nanoseconds)
            return faults.plan.evaluate(candidate)
        }
    }

    func setFaults(_ plan: FaultPlan) {
        faults.withLock { faults in
            faults = Faults(plan: plan)
            triggers.store(plan.triggers.rawValue, ordering: .relaxed)
        }
    }

    // MARK: Inspection

    var counters: SimulatorCounters { records.withLock { $0.counters } }

    func pushes(after sequence: UInt64, limit: Int) -> [ReceivedPush] {
        records.withLock { $0.pushes.elements(after: sequence, limit: limit) }
    }

    /// The refused pushes since a number, oldest first, and the number of all.
    func refused(after number: UInt64) -> (pushes: [ReceivedPush], total: UInt64) {
        records.withLock { ($0.refused.elements(after: number, limit: .max), $0.refused.total) }
    }

    func takenIDs(after number: UInt64, limit: Int) -> [APNSID] {
        records.withLock { $0.takenIDs.elements(after: number, limit: limit) }
    }

    /// The numbers of the oldest and the newest ID in the log.
    var takenIDNumbers: (first: UInt64, last: UInt64) {
        records.withLock { ($0.takenIDs.firstNumber, $0.takenIDs.total) }
    }

    /// Deletes records, devices, channels and scripted states, and restores the configured settings. Connections stay
    /// open.
    func reset() {
        setFaults(FaultPlan())
        devices.reset()
        setSettings(configuration.settings)
        tokens.withLock { tokens in
            tokens = Tokens(resets: tokens.resets + 1)
            updateHasTokenStates(tokens)
        }
        connectionRateLimiter.reset()
        tokenRateLimiter.reset()
        channels.reset()
        records.withLock { records in
            let open = records.counters.connectionsOpen
            records.counters = SimulatorCounters()
            records.counters.connectionsOpen = open
            records.pushes = Ring(capacity: configuration.pushLogMax)
            records.takenIDs = Ring(capacity: configuration.idLogMax)
            records.refused = Ring(capacity: Self.refusedMax)
        }
    }
}
