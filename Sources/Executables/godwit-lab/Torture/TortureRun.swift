import APNSSimulator
import AsyncHTTPClient
import Foundation
import GodwitCLI
import PushModel
import Synchronization

/// A torture run: a simulator in this process, a gateway in its own process, load, interruptions and faults, then a
/// quiet period in which every push must be settled. Writes the logs that `TortureChecks` reads.
final class TortureRun: Sendable {
    struct Options: Sendable {
        var duration: Duration = .seconds(40)
        /// Maximum number of pushes sent.
        var pushes = 1_000_000
        var kills = 10
        var stops = 2
        var seed: UInt64 = 1
        /// Pushes per second.
        var rate = 1500
        /// Delete the store at the last kill, so that the run must fail.
        var isControl = false
        /// How long the accepted pushes may take to settle in the quiet period.
        var settleMax: Duration = .seconds(90)
    }

    struct State {
        var requests = 0
        /// Pushes sent.
        var offered = 0
        var offeredBulk = 0
        /// The IDs of accepted and unconfirmed pushes.
        var ids: [String] = []
        var isOver = false
    }

    let options: Options
    let folder: TortureFolder
    let load: TortureLoad
    let client: TortureClient
    let gateway: TortureGateway
    let simulator: Simulator
    let state = Mutex(State())
    let clientLog: TortureLog<ClientLine>
    let storeLog: TortureLog<StoreLine>
    private let apnsLog: TortureLog<APNSLine>
    private let events: TortureLog<EventLine>
    private let progress: @Sendable (WorkProgress) -> Void

    init(_ options: Options, folder: TortureFolder, progress: @escaping @Sendable (WorkProgress) -> Void) async throws {
        self.options = options
        self.folder = folder
        self.progress = progress
        load = TortureLoad(seed: options.seed)
        clientLog = try TortureLog(folder.file("client.log"))
        apnsLog = try TortureLog(folder.file("apns.log"))
        storeLog = try TortureLog(folder.file("store.log"))
        events = try TortureLog(folder.file("events.log"))
        try events.append([EventLine(at: TortureTime.now, kind: .runStarted, seed: options.seed)])
        let credentials = try SimulatorFolder(folder.file("simulator"))
        let key = try credentials.signingKey(teamID: "DEMOTEAM00", keyID: "DEMOKEY000")
        var configuration = SimulatorConfiguration(.faithful, authentication: .signingKeys([key]))
        configuration.certificate = .issued(by: try credentials.authority())
        configuration.pushLogMax = 100_000
        configuration.devices.countMax = 0
        simulator = try await withPlainErrors { try await Simulator.start(configuration) }
        let unregistered = TortureLoad.unregisteredPatterns.compactMap { TokenPattern($0) }
        simulator.setTokenRules(unregistered.map { TokenRule($0, .unregistered(at: TortureTime.now - 86_400_000)) })
        gateway = try TortureGateway(folder, simulator: simulator, events: events, key: key)
        client = TortureClient.make(url: gateway.url)
    }

    /// Runs load and quiet period, and completes the logs. No process is left running, even after an error.
    func run() async throws {
        let result: Result<Void, any Error>
        do {
            result = .success(try await runPhases())
        } catch {
            result = .failure(error)
        }
        gateway.terminate()
        try? await client.http.shutdown()
        try? await simulator.shutdown()
        try result.get()
    }

    private func runPhases() async throws {
        try await gateway.start()
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                await Termination.wait()
                try Task.checkCancellation()
                throw CommandError("interrupted; the logs so far are in \(self.folder.path)")
            }
            group.addTask {
                try await self.copySimulatorLogRepeatedly()
                return false
            }
            group.addTask {
                try await self.applyLoad()
                try await self.waitUntilSettled()
                return true
            }
            while let isDone = try await group.next(), !isDone {}
            group.cancelAll()
        }
        try copySimulatorLog()
    }

    // MARK: Load

    private func applyLoad() async throws {
        let plan = TorturePlan(
            seed: options.seed, duration: options.duration, kills: options.kills, stops: options.stops)
        let start = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.interruptGateway(plan.interruptions, since: start) }
            group.addTask { try await self.injectFaults(plan.periods, since: start) }
            for number in 0..<8 {
                group.addTask { try await self.runClient(isBulk: number < 2, since: start) }
            }
            group.addTask { try await self.reportProgress(since: start) }
            try await group.waitForAll()
        }
        try await gateway.restartAfterCrash()
    }

    private func interruptGateway(
        _ interruptions: [TorturePlan.Interruption], since start: ContinuousClock.Instant
    ) async throws {
        for (index, interruption) in interruptions.enumerated() {
            while ContinuousClock.now < start + interruption.at {
                try await Task.sleep(for: .milliseconds(20))
                try await gateway.restartAfterCrash()
                if state.withLock({ $0.isOver }) { return }
            }
            switch interruption.kind {
            case .kill:
                try await gateway.kill()
                if options.isControl, index == interruptions.lastIndex(where: { $0.kind == .kill }) {
                    try FileManager.default.removeItem(atPath: folder.file("store"))
                }
            case .stop: try await gateway.stop()
            }
            try await Task.sleep(for: interruption.downtime)
            try await gateway.start()
            try await sampleStates()
        }
    }

    private func injectFaults(_ periods: [TorturePlan.Period], since start: ContinuousClock.Instant) async throws {
        var end = start
        for period in periods where !state.withLock({ $0.isOver }) {
            if let fault = period.fault {
                // Logged before the fault begins and after it ends, so that all of its effects fall between the lines.
                try logEvent(.fault, fault.name, breaksConnections: fault.breaksConnections)
                simulator.setFaults(try FaultPlan(document: Array(fault.plan.utf8)))
            }
            end += period.length
            try await Task.sleep(until: end)
            if period.fault != nil {
                simulator.setFaults(FaultPlan())
                try logEvent(.faultCleared)
            }
        }
    }

    /// Logs the states of some pushes, so that the checks detect a verdict that changes later.
    private func sampleStates() async throws {
        var random = SeededGenerator(seed: options.seed &+ UInt64(TortureTime.now))
        let ids = state.withLock { state in
            (0..<min(500, state.ids.count)).map { _ in state.ids.randomElement(using: &random)! }
        }
        guard !ids.isEmpty, let states = await client.states(of: ids) else { return }
        try log(states)
    }

    private func reportProgress(since start: ContinuousClock.Instant) async throws {
        while !state.withLock({ $0.isOver }) {
            try await Task.sleep(for: .milliseconds(100))
            let elapsed = ContinuousClock.now - start
            let offered = state.withLock { state in
                state.isOver = elapsed >= options.duration || state.offered >= options.pushes
                return state.offered
            }
            let share = max(elapsed / options.duration, Double(offered) / Double(options.pushes))
            progress(WorkProgress(phase: "load", fraction: min(share, 1), count: offered, elapsed: elapsed))
        }
    }

    // MARK: Quiet period

    /// Waits until all known pushes are settled, and logs their states.
    private func waitUntilSettled() async throws {
        let start = ContinuousClock.now
        var unsettled = state.withLock { $0.ids }
        let count = unsettled.count
        while !unsettled.isEmpty {
            let isLast = ContinuousClock.now - start > options.settleMax
            var left: [String] = []
            for index in stride(from: 0, to: unsettled.count, by: 1000) {
                let ids = Array(unsettled[index..<min(index + 1000, unsettled.count)])
                guard let states = await client.states(of: ids) else {
                    left += ids
                    continue
                }
                let finalStates = states.filter { isLast || TortureChecks.isFinal($0.state) }
                try log(finalStates)
                left += states.filter { !isLast && !TortureChecks.isFinal($0.state) }.map(\.id)
            }
            unsettled = left
            if isLast { break }
            let settled = count - unsettled.count
            progress(
                WorkProgress(
                    phase: "settling", fraction: Double(settled) / Double(count), count: settled,
                    elapsed: ContinuousClock.now - start
                )
            )
            if !unsettled.isEmpty { try await Task.sleep(for: .milliseconds(300)) }
        }
        try await gateway.stop()
    }

    // MARK: Logs

    private func log(_ states: [(id: String, state: String, code: Int)]) throws {
        let now = TortureTime.now
        try storeLog.append(states.map { StoreLine(at: now, id: $0.id, state: $0.state, code: $0.code) })
    }

    private func logEvent(_ kind: EventLine.Kind, _ detail: String? = nil, breaksConnections: Bool? = nil) throws {
        let line = EventLine(at: TortureTime.now, kind: kind, detail: detail, breaksConnections: breaksConnections)
        try events.append([line])
    }

    private func copySimulatorLogRepeatedly() async throws {
        while !Task.isCancelled {
            try copySimulatorLog()
            try? await Task.sleep(for: .milliseconds(100))
        }
    }

    private let copied = Mutex<UInt64>(0)

    /// Copies the pushes that the simulator has recorded since the last copy.
    ///
    /// - Throws: `CommandError` if the simulator has discarded pushes before they were copied: the log would be
    ///   incomplete.
    private func copySimulatorLog() throws {
        try copied.withLock { last in
            let pushes = simulator.pushes(after: last)
            guard let first = pushes.first, let newest = pushes.last else { return }
            guard first.sequence == last + 1 else {
                throw CommandError("the simulator has discarded pushes before they were logged; lower --rate")
            }
            last = newest.sequence
            try apnsLog.append(
                pushes.map { push in
                    let device = load.device(of: push.token)
                    let payload = device.map { Array(load.payload(of: $0).utf8) }
                    return APNSLine(
                        at: push.receivedAt, id: "\(push.id)", device: device, topic: push.topic,
                        isIntact: payload == push.payload, status: Int(push.status),
                        reason: push.reason.isEmpty ? nil : push.reason, isTaken: push.isTaken,
                        connection: push.connection
                    )
                }
            )
        }
    }
}
