import APNSWire
import NIOCore
import Synchronization

/// What all connections share. Connections come here once for all that arrived together, not once a push; only
/// scripted tokens and faults, when there are any, are asked for each.
final class SimulatorState: Sendable {
    /// Tokens that can have a state at once.
    static let tokenStatesMax = 1_000_000

    private struct Records {
        var counters = SimulatorCounters()
        var pushes: Ring<ReceivedPush>
        var takenIDs: Ring<APNSID>
        var connectionsEver: UInt64 = 0
    }

    private struct Tokens {
        var states: [[UInt8]: SimulatedTokenState] = [:]
        var rules: [TokenRule] = []
        /// What is to take effect later does so only if there was no reset in between.
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
    private let moments = Atomic<UInt8>(0)
    private let connections = Mutex<[ObjectIdentifier: any Channel]>([:])
    private let connectionGuard = ConnectionRateLimiter()
    let tokenRates = TokenRates()
    let channels = ChannelStore()
    /// For what happens later.
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

    /// Sets them for all connections, those that are open included.
    func setSettings(_ settings: SimulatorSettings) { _ = changeSettings { $0 = settings } }

    /// - Returns: nil when it is done; else why it cannot be, all of it.
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

    /// Whether one more client may connect; counts it when it may not.
    func admitsConnection() -> Bool {
        let settings = settings
        guard settings.connectionRate != nil || settings.connectionsMax != nil else { return true }
        let open = connections.withLock { $0.count }
        if connectionGuard.admits(settings, open: open) { return true }
        records.withLock { $0.counters.connectionsRefused += 1 }
        return false
    }

    /// - Returns: the connection's number.
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

    /// Takes over what a connection has gathered.
    func record(_ counters: SimulatorCounters, takenIDs: [APNSID], pushes: [ReceivedPush]) {
        records.withLock { records in
            records.counters.add(counters)
            for id in takenIDs { records.takenIDs.append(id) }
            for var push in pushes {
                push.sequence = records.pushes.total + 1
                records.pushes.append(push)
            }
        }
        if !pushes.isEmpty { devices.received(pushes) }
    }

    // MARK: Scripts

    /// A token's own state, else that of the first rule whose pattern it has.
    func tokenState(of token: [UInt8]) -> SimulatedTokenState? {
        guard hasTokenStates.load(ordering: .relaxed), !token.isEmpty else { return nil }
        return tokens.withLock { tokens in
            tokens.states[token] ?? tokens.rules.first { $0.pattern.matches(token) }?.state
        }
    }

    /// - Returns: false when there are too many tokens with a state; one that comes later is dropped silently then.
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
            noteTokens(tokens)
            devices.touched(token)
            return true
        }
    }

    func setTokenRules(_ rules: [TokenRule]) {
        tokens.withLock { tokens in
            tokens.rules = rules
            noteTokens(tokens)
        }
    }

    private func noteTokens(_ tokens: Tokens) {
        hasTokenStates.store(!tokens.states.isEmpty || !tokens.rules.isEmpty, ordering: .relaxed)
    }

    /// When connections have a rule to ask.
    var faultMoments: FaultMoments { FaultMoments(rawValue: moments.load(ordering: .relaxed)) }

    func fault(for candidate: FaultCandidate) -> Fault? {
        faults.withLock { faults in
            var candidate = candidate
            candidate.elapsed = .nanoseconds((NIODeadline.now() - faults.since).nanoseconds)
            return faults.plan.fault(for: candidate)
        }
    }

    func setFaults(_ plan: FaultPlan) {
        faults.withLock { faults in
            faults = Faults(plan: plan)
            moments.store(plan.moments.rawValue, ordering: .relaxed)
        }
    }

    // MARK: Looking

    var counters: SimulatorCounters { records.withLock { $0.counters } }

    func pushes(after sequence: UInt64, limit: Int) -> [ReceivedPush] {
        records.withLock { $0.pushes.elements(after: sequence, limit: limit) }
    }

    func takenIDs(after number: UInt64, limit: Int) -> [APNSID] {
        records.withLock { $0.takenIDs.elements(after: number, limit: limit) }
    }

    /// The number of the oldest id that is still there, and of the newest.
    var takenIDNumbers: (first: UInt64, last: UInt64) {
        records.withLock { ($0.takenIDs.firstNumber, $0.takenIDs.total) }
    }

    /// Forgets all that was recorded and scripted, channels and changed settings too; connections stay as they are.
    func reset() {
        setFaults(FaultPlan())
        devices.reset()
        setSettings(configuration.settings)
        tokens.withLock { tokens in
            tokens = Tokens(resets: tokens.resets + 1)
            noteTokens(tokens)
        }
        connectionGuard.reset()
        tokenRates.reset()
        channels.reset()
        records.withLock { records in
            let open = records.counters.connectionsOpen
            records.counters = SimulatorCounters()
            records.counters.connectionsOpen = open
            records.pushes = Ring(capacity: configuration.pushLogMax)
            records.takenIDs = Ring(capacity: configuration.idLogMax)
        }
    }
}
