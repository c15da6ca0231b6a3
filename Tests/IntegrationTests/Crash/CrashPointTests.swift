import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Synchronization
import Testing

/// `kill -9` immediately before a disk call, by strace. This is a sample; scripts/crash-points.sh runs all points.
@Suite(.serialized) struct `A crash at a disk call` {
    /// When the gateway is killed.
    ///
    /// strace counts the calls of each thread separately. One thread creates a new store, with 29 calls; another thread
    /// does all later writes and is the first to reach higher numbers.
    enum Phase: String, CaseIterable, Sendable {
        /// While the store is created.
        case creation
        /// Under load, on an existing store.
        case load
    }

    @Test(.timeLimit(.minutes(60)), arguments: Phase.allCases)
    func `no accepted push is lost`(_ phase: Phase) async throws {
        let points = try CrashPoints.points(phase)
        let results = try await CrashPoints.run(points, phase)
        for result in results { print(result.line(phase)) }
        let killed = results.filter { $0.isKilled }
        print(
            """
            crash points, \(phase): \(killed.count) of \(results.count) killed, \
            \(killed.reduce(0) { $0 + $1.accepted }) accepted, \(results.reduce(0) { $0 + $1.lost }) lost, \
            \(results.reduce(0) { $0 + $1.unexpected }) unexpected, \(results.reduce(0) { $0 + $1.duplicates }) duplicates
            """
        )
        #expect(results.reduce(0) { $0 + $1.lost } == 0)
        #expect(results.reduce(0) { $0 + $1.unexpected } == 0)
        #expect(killed.count == results.count, "a point that is not reached proves nothing")
    }
}

struct CrashPoints {
    struct Result: Sendable {
        var point: Int
        var isKilled = false
        var wasReady = false
        var offered = 0
        var accepted = 0
        var lost = 0
        var unexpected = 0
        var duplicates = 0

        func line(_ phase: `A crash at a disk call`.Phase) -> String {
            """
            crash point \(phase) \(point): \(isKilled ? "killed" : "not reached") \
            \(wasReady ? "under load" : "while starting"), offered \(offered), accepted \(accepted), lost \(lost), \
            unexpected deliveries \(unexpected), duplicates \(duplicates)
            """
        }
    }

    private static let calls = "fdatasync,fsync,pwrite64,write,ftruncate,unlink,rename"
    /// Number of requests after which a point counts as not reached.
    private static let requestsMax = 400

    /// The points of CRASH_POINTS (such as `1-200`), or a sample.
    static func points(_ phase: `A crash at a disk call`.Phase) throws -> [Int] {
        guard let text = ProcessInfo.processInfo.environment["CRASH_POINTS"] else {
            return phase == .creation ? [4, 13, 29] : [9, 40, 85, 121, 160]
        }
        let ends = text.split(separator: "-").compactMap { Int($0) }
        guard ends.count == 2, ends[0] >= 1, ends[0] <= ends[1] else {
            throw GatewayDidNotStart(description: "CRASH_POINTS must be two numbers such as 1-200")
        }
        // The creation has 29 calls; later points are those of the load.
        return Array(ends[0]...(phase == .creation ? max(ends[0], min(ends[1], 29)) : ends[1]))
    }

    /// Runs two points concurrently.
    static func run(_ points: [Int], _ phase: `A crash at a disk call`.Phase) async throws -> [Result] {
        try await withThrowingTaskGroup(of: Result.self) { group in
            var results: [Result] = []
            for (index, point) in points.enumerated() {
                if index >= 2, let result = try await group.next() { results.append(result) }
                group.addTask { try await run(point, phase) }
            }
            for try await result in group { results.append(result) }
            return results.sorted { $0.point < $1.point }
        }
    }

    private static func run(_ point: Int, _ phase: `A crash at a disk call`.Phase) async throws -> Result {
        let gateway = try await GatewayUnderTest(isStarted: phase == .load)
        if phase == .load { _ = try await gateway.stop() }
        let store = gateway.storeFolder
        let files = ["", "/godwit.sqlite", "/godwit.sqlite-wal", "/godwit.sqlite-journal"].map { store + $0 }
        let tracer =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=\(calls)"]
            + ["-e", "inject=\(calls):signal=SIGKILL:when=\(point)"] + files.flatMap { ["-P", $0] }
        var result = Result(point: point)
        result.wasReady = try await gateway.startUnder(tracer)
        let load = CrashLoad(gateway)
        if result.wasReady { try await load.run(requestsMax: requestsMax) }
        result.isKilled = gateway.process.exit == .signal(SIGKILL)
        if !result.isKilled, let process = gateway.gatewayID { Foundation.kill(process, SIGKILL) }
        _ = try await gateway.process.waitForExit()

        try await gateway.restart()
        // A store whose creation was interrupted must work after the restart.
        if !result.wasReady { try await load.run(requestsMax: 5) }
        let accepted = load.accepted
        let states = try await gateway.settledStates(of: accepted)
        let arrivals = gateway.simulator.pushes()
        let taken = arrivals.filter(\.isTaken)
        let known = Set(taken.map(\.id))
        result.offered = load.offered
        result.accepted = accepted.count
        result.lost = accepted.count { !known.contains($0) } + accepted.count - (states["delivered"] ?? 0)
        result.duplicates = taken.count - known.count
        result.unexpected =
            Dictionary(grouping: arrivals) { $0.token }.values.count { Set($0.map(\.id)).count > 1 }
            + arrivals.count { !load.hasOffered($0.token) }
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
        return result
    }
}

/// Posts single pushes and files of pushes in two concurrent loops, until the gateway exits.
private final class CrashLoad: Sendable {
    private struct State {
        var next = 0
        var accepted: [APNSID] = []
        var requests = 0
    }

    private let gateway: GatewayUnderTest
    private let state = Mutex(State())

    init(_ gateway: GatewayUnderTest) {
        self.gateway = gateway
    }

    var offered: Int { state.withLock { $0.next } }
    var accepted: [APNSID] { state.withLock { $0.accepted } }

    /// Whether the token is one that was posted. Tokens contain the number of their push: see
    /// `GatewayUnderTest.pushFile`.
    func hasOffered(_ token: [UInt8]) -> Bool {
        guard token.count == 32, token.prefix(24).allSatisfy({ $0 == 0 }) else { return false }
        return token[24...].reduce(0) { $0 << 8 | Int($1) } < offered
    }

    func run(requestsMax: Int) async throws {
        let end = state.withLock { $0.requests } + requestsMax
        try await withThrowingTaskGroup(of: Void.self) { group in
            for count in [1, 40] {
                group.addTask {
                    while self.gateway.process.exit == nil, self.state.withLock({ $0.requests }) < end {
                        try await self.post(count)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private func post(_ count: Int) async throws {
        let first = state.withLock { state in
            defer { state.next += count }
            state.requests += 1
            return state.next
        }
        let file = try gateway.pushFile("crash-\(count)", count: count, from: first)
        var accepted: [APNSID] = []
        if count == 1 {
            // A push without a response may or may not be accepted; it does not count.
            let response = try? await curl([
                "\(gateway.url)/push", "-H", "Content-Type: application/json", "--data-binary", "@\(file)",
            ])
            accepted = GatewayUnderTest.accepted(in: response?.body ?? "")
        } else {
            accepted = try await gateway.post(ndjson: file).accepted
        }
        state.withLock { $0.accepted += accepted }
    }
}
