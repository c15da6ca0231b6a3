import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Synchronization
import Testing

/// `kill -9` at one call to the disk after the other, by strace: before it, so that the call itself is not made.
///
/// A sample here; scripts/crash-points.sh runs all of them.
@Suite(.serialized) struct `A crash at a disk call` {
    /// strace counts the calls of each thread by itself. A new store is made by one thread, with 29 calls; under load
    /// another one does all the writing, and it is the one that gets to higher numbers first.
    enum Moment: String, CaseIterable, Sendable {
        /// While the store is made, and if that succeeds, under load.
        case first
        /// Under load, on a store that is there.
        case load
    }

    @Test(.timeLimit(.minutes(60)), arguments: Moment.allCases)
    func `no accepted push is lost`(_ moment: Moment) async throws {
        let points = try CrashPoints.points(moment)
        let results = try await CrashPoints.run(points, moment)
        for result in results { print(result.line(moment)) }
        let killed = results.filter { $0.isKilled }
        print(
            """
            crash points, \(moment): \(killed.count) of \(results.count) killed, \
            \(killed.reduce(0) { $0 + $1.accepted }) accepted, \(results.reduce(0) { $0 + $1.lost }) lost, \
            \(results.reduce(0) { $0 + $1.phantom }) phantom, \(results.reduce(0) { $0 + $1.twice }) sent twice
            """
        )
        #expect(results.reduce(0) { $0 + $1.lost } == 0)
        #expect(results.reduce(0) { $0 + $1.phantom } == 0)
        #expect(killed.count == results.count, "a point that is never reached proves nothing")
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
        var phantom = 0
        var twice = 0

        func line(_ moment: `A crash at a disk call`.Moment) -> String {
            """
            crash point \(moment) \(point): \(isKilled ? "killed" : "not reached") \
            \(wasReady ? "under load" : "while starting"), offered \(offered), accepted \(accepted), lost \(lost), \
            phantom \(phantom), twice \(twice)
            """
        }
    }

    private static let calls = "fdatasync,fsync,pwrite64,write,ftruncate,unlink,rename"
    /// Requests after which a point counts as out of reach.
    private static let requestsMax = 400

    /// From CRASH_POINTS (`1-200`), or a sample.
    static func points(_ moment: `A crash at a disk call`.Moment) throws -> [Int] {
        guard let text = ProcessInfo.processInfo.environment["CRASH_POINTS"] else {
            return moment == .first ? [4, 13, 29] : [9, 40, 85, 121, 160]
        }
        let ends = text.split(separator: "-").compactMap { Int($0) }
        guard ends.count == 2, ends[0] >= 1, ends[0] <= ends[1] else {
            throw GatewayDidNotStart(description: "CRASH_POINTS is two numbers, as in 1-200")
        }
        // Beyond its 29 calls the first moment is the other one over again.
        return Array(ends[0]...(moment == .first ? max(ends[0], min(ends[1], 29)) : ends[1]))
    }

    /// Two at a time.
    static func run(_ points: [Int], _ moment: `A crash at a disk call`.Moment) async throws -> [Result] {
        try await withThrowingTaskGroup(of: Result.self) { group in
            var results: [Result] = []
            for (index, point) in points.enumerated() {
                if index >= 2, let result = try await group.next() { results.append(result) }
                group.addTask { try await run(point, moment) }
            }
            for try await result in group { results.append(result) }
            return results.sorted { $0.point < $1.point }
        }
    }

    private static func run(_ point: Int, _ moment: `A crash at a disk call`.Moment) async throws -> Result {
        let gateway = try await GatewayUnderTest(isStarted: moment == .load)
        if moment == .load { _ = try await gateway.stop() }
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
        // A store whose making was interrupted must serve all the same.
        if !result.wasReady { try await load.run(requestsMax: 5) }
        let accepted = load.accepted
        let states = try await gateway.settledStates(of: accepted)
        let arrivals = gateway.simulator.pushes()
        let taken = arrivals.filter(\.isTaken)
        let known = Set(taken.map(\.id))
        result.offered = load.offered
        result.accepted = accepted.count
        result.lost = accepted.count { !known.contains($0) } + accepted.count - (states["delivered"] ?? 0)
        result.twice = taken.count - known.count
        result.phantom =
            Dictionary(grouping: arrivals) { $0.token }.values.count { Set($0.map(\.id)).count > 1 }
            + arrivals.count { !load.hasOffered($0.token) }
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
        return result
    }
}

/// Posts single pushes and files of pushes, one after the other in two lines, until nobody answers.
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

    /// The token of push `number` holds the number, as `GatewayUnderTest.pushFile` writes it.
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
            // Without an answer nobody knows, and nothing was promised.
            let answer = try? await curl([
                "\(gateway.url)/push", "-H", "Content-Type: application/json", "--data-binary", "@\(file)",
            ])
            accepted = GatewayUnderTest.accepted(in: answer?.body ?? "")
        } else {
            accepted = try await gateway.post(ndjson: file).accepted
        }
        state.withLock { $0.accepted += accepted }
    }
}
