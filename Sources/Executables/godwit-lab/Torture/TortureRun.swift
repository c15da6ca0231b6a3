import APNSSimulator
import AsyncHTTPClient
import Foundation
import GodwitCLI
import Synchronization

/// A run: a simulator in this process, a gateway in its own, load, blows and faults; then peace, and the logs.
final class TortureRun: Sendable {
    struct Options: Sendable {
        var duration: Duration = .seconds(40)
        /// The most pushes that are offered.
        var pushes = 1_000_000
        var kills = 10
        var stops = 2
        var seed: UInt64 = 1
        /// Pushes offered each second.
        var rate = 1500
        /// The store is deleted at the last kill, so the run must fail.
        var isControl = false
        /// How long what is accepted may take to end when nothing is wrong any more.
        var settleMax: Duration = .seconds(90)
    }

    struct State {
        var requests = 0
        /// Pushes.
        var offered = 0
        var offeredBulk = 0
        /// Every id that was named, accepted or in doubt.
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
        try events.append([EventLine(at: TortureTime.now, kind: .began, seed: options.seed)])
        let credentials = try SimulatorFolder(folder.file("simulator"))
        let key = try credentials.signingKey(teamID: "DEMOTEAM00", keyID: "DEMOKEY000")
        var configuration = SimulatorConfiguration(.faithful, authentication: .signingKeys([key]))
        configuration.certificate = .issued(by: try credentials.authority())
        configuration.pushLogMax = 100_000
        configuration.devices.countMax = 0
        simulator = try await started { try await Simulator.start(configuration) }
        let gone = TortureLoad.gonePatterns.compactMap { TokenPattern($0) }
        simulator.setTokenRules(gone.map { TokenRule($0, .unregistered(at: TortureTime.now - 86_400_000)) })
        gateway = try TortureGateway(folder, simulator: simulator, events: events, key: key)
        client = TortureClient.make(url: gateway.url)
    }

    /// Everything, up to the logs. Nothing is left running.
    func run() async throws {
        let result: Result<Void, any Error>
        do {
            result = .success(try await story())
        } catch {
            result = .failure(error)
        }
        gateway.end()
        try? await client.http.shutdown()
        try? await simulator.shutdown()
        try result.get()
    }

    private func story() async throws {
        try await gateway.start()
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                await Termination.wait()
                try Task.checkCancellation()
                throw CommandError("stopped before the end; the logs so far are in \(self.folder.path)")
            }
            group.addTask {
                try await self.drainSimulator()
                return false
            }
            group.addTask {
                try await self.torture()
                try await self.settle()
                return true
            }
            while let isDone = try await group.next(), !isDone {}
            group.cancelAll()
        }
        try copySimulatorLog()
    }

    // MARK: Torture

    private func torture() async throws {
        let plan = TorturePlan(
            seed: options.seed, duration: options.duration, kills: options.kills, stops: options.stops)
        let begin = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.play(plan.interruptions, since: begin) }
            group.addTask { try await self.play(plan.spells, since: begin) }
            for number in 0..<8 {
                group.addTask { try await self.work(isBulk: number < 2, since: begin) }
            }
            group.addTask { try await self.report(since: begin) }
            try await group.waitForAll()
        }
        if try await gateway.hasDied() { try await gateway.start() }
    }

    private func play(_ faults: [TorturePlan.Interruption], since begin: ContinuousClock.Instant) async throws {
        for (index, blow) in faults.enumerated() {
            while ContinuousClock.now < begin + blow.at {
                try await Task.sleep(for: .milliseconds(20))
                if try await gateway.hasDied() { try await gateway.start() }
                if state.withLock({ $0.isOver }) { return }
            }
            switch blow.kind {
            case .kill:
                try await gateway.kill()
                if options.isControl, index == faults.lastIndex(where: { $0.kind == .kill }) {
                    try FileManager.default.removeItem(atPath: folder.file("store"))
                }
            case .stop: try await gateway.stop()
            }
            try await Task.sleep(for: blow.pause)
            try await gateway.start()
            try await look()
        }
    }

    private func play(_ spells: [TorturePlan.Spell], since begin: ContinuousClock.Instant) async throws {
        var end = begin
        for spell in spells where !state.withLock({ $0.isOver }) {
            if let fault = spell.fault {
                // Noted before it begins, and its end after it: what it does must not look like nobody's doing.
                try note(.fault, fault.name, breaksConnections: fault.breaksConnections)
                simulator.setFaults(try FaultPlan(document: Array(fault.plan.utf8)))
            }
            end += spell.length
            try await Task.sleep(until: end)
            if spell.fault != nil {
                simulator.setFaults(FaultPlan())
                try note(.healed)
            }
        }
    }

    /// Asks for some of the pushes, so that a verdict that changes later is noticed.
    private func look() async throws {
        var random = SeededRandom(seed: options.seed &+ UInt64(TortureTime.now))
        let ids = state.withLock { state in
            (0..<min(500, state.ids.count)).map { _ in state.ids.randomElement(using: &random)! }
        }
        guard !ids.isEmpty, let states = await client.states(of: ids) else { return }
        try write(states)
    }

    private func report(since begin: ContinuousClock.Instant) async throws {
        while !state.withLock({ $0.isOver }) {
            try await Task.sleep(for: .milliseconds(100))
            let elapsed = ContinuousClock.now - begin
            let offered = state.withLock { state in
                state.isOver = elapsed >= options.duration || state.offered >= options.pushes
                return state.offered
            }
            let share = max(elapsed / options.duration, Double(offered) / Double(options.pushes))
            progress(WorkProgress(phase: "torturing", fraction: min(share, 1), count: offered, elapsed: elapsed))
        }
    }

    // MARK: Peace

    /// Waits until everything that is known has ended, and writes down how.
    private func settle() async throws {
        let begin = ContinuousClock.now
        var waiting = state.withLock { $0.ids }
        let count = waiting.count
        while !waiting.isEmpty {
            let isLast = ContinuousClock.now - begin > options.settleMax
            var left: [String] = []
            for start in stride(from: 0, to: waiting.count, by: 1000) {
                let ids = Array(waiting[start..<min(start + 1000, waiting.count)])
                guard let states = await client.states(of: ids) else {
                    left += ids
                    continue
                }
                let ended = states.filter { isLast || TortureChecks.isFinal($0.state) }
                try write(ended)
                left += states.filter { !isLast && !TortureChecks.isFinal($0.state) }.map(\.id)
            }
            waiting = left
            if isLast { break }
            let settled = count - waiting.count
            progress(
                WorkProgress(
                    phase: "settling", fraction: Double(settled) / Double(count), count: settled,
                    elapsed: ContinuousClock.now - begin
                )
            )
            if !waiting.isEmpty { try await Task.sleep(for: .milliseconds(300)) }
        }
        try await gateway.stop()
    }

    // MARK: Logs

    private func write(_ states: [(id: String, state: String, code: Int)]) throws {
        let now = TortureTime.now
        try storeLog.append(states.map { StoreLine(at: now, id: $0.id, state: $0.state, code: $0.code) })
    }

    private func note(_ kind: EventLine.Kind, _ what: String? = nil, breaksConnections: Bool? = nil) throws {
        let line = EventLine(at: TortureTime.now, kind: kind, what: what, breaksConnections: breaksConnections)
        try events.append([line])
    }

    private func drainSimulator() async throws {
        while !Task.isCancelled {
            try copySimulatorLog()
            try? await Task.sleep(for: .milliseconds(100))
        }
    }

    private let copied = Mutex<UInt64>(0)

    /// Copies what the simulator has recorded since the last time.
    ///
    /// - Throws: when its memory was too short, since then nothing could be proved any more.
    private func copySimulatorLog() throws {
        try copied.withLock { last in
            let pushes = simulator.pushes(after: last)
            guard let first = pushes.first, let newest = pushes.last else { return }
            guard first.sequence == last + 1 else {
                throw CommandError("the simulator has received more than it remembers; lower --rate")
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
