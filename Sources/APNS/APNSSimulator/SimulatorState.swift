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

    let configuration: SimulatorConfiguration
    let verifier: ProviderTokenVerifier
    let topics: TopicTable
    let devices: Devices

    private let records: Mutex<Records>
    private let tokenStates = Mutex<[[UInt8]: SimulatedTokenState]>([:])
    private let faults = Mutex(FaultPlan())
    private let hasTokenStates = Atomic(false)
    private let hasFaults = Atomic(false)
    private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    init(_ configuration: SimulatorConfiguration) {
        self.configuration = configuration
        verifier = ProviderTokenVerifier(configuration)
        topics = TopicTable(allowed: configuration.topics)
        devices = Devices(configuration.devices, clock: configuration.clock)
        records = Mutex(
            Records(
                pushes: Ring(capacity: configuration.pushLogMax), takenIDs: Ring(capacity: configuration.idLogMax)
            )
        )
    }

    // MARK: Connections

    /// - Returns: the connection's number.
    func connectionOpened(_ channel: any Channel) -> UInt64 {
        channels.withLock { $0[ObjectIdentifier(channel)] = channel }
        return records.withLock { records in
            records.counters.connectionsAccepted += 1
            records.counters.connectionsOpen += 1
            records.connectionsEver += 1
            return records.connectionsEver
        }
    }

    func connectionClosed(_ channel: any Channel) {
        _ = channels.withLock { $0.removeValue(forKey: ObjectIdentifier(channel)) }
        records.withLock { $0.counters.connectionsOpen -= 1 }
    }

    var openChannels: [any Channel] { channels.withLock { Array($0.values) } }

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

    func tokenState(of token: [UInt8]) -> SimulatedTokenState? {
        guard hasTokenStates.load(ordering: .relaxed) else { return nil }
        return tokenStates.withLock { $0[token] }
    }

    func fault(for request: IncomingRequest) -> Fault? {
        guard hasFaults.load(ordering: .relaxed) else { return nil }
        let candidate = FaultCandidate(token: request.token, topic: topics.name(of: request.topic))
        return faults.withLock { $0.fault(for: candidate) }
    }

    func setFaults(_ plan: FaultPlan) {
        faults.withLock { faults in
            faults = plan
            hasFaults.store(!plan.isEmpty, ordering: .relaxed)
        }
    }

    /// - Returns: false when there are too many tokens with a state.
    func setTokenState(_ state: SimulatedTokenState?, of token: [UInt8]) -> Bool {
        tokenStates.withLock { states in
            if state != nil, states[token] == nil, states.count >= Self.tokenStatesMax { return false }
            states[token] = state
            hasTokenStates.store(!states.isEmpty, ordering: .relaxed)
            devices.touched(token)
            return true
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

    /// Forgets all that was recorded and scripted; connections stay as they are.
    func reset() {
        setFaults(FaultPlan())
        devices.reset()
        tokenStates.withLock { states in
            states.removeAll()
            hasTokenStates.store(false, ordering: .relaxed)
        }
        records.withLock { records in
            let open = records.counters.connectionsOpen
            records.counters = SimulatorCounters()
            records.counters.connectionsOpen = open
            records.pushes = Ring(capacity: configuration.pushLogMax)
            records.takenIDs = Ring(capacity: configuration.idLogMax)
        }
    }
}
