import APNSKit
import APNSWire
import ArgumentParser
import Foundation
import GodwitCLI
import NIOCore
import NIOPosix
import PushModel
import Synchronization
import Telemetry

/// The process under test of the client benchmarks: sends pushes with an `APNSClient` and prints a report.
struct ClientWorker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-client", abstract: "Run the client of a benchmark.", shouldDisplay: false)

    /// Pushes per second that the client must reach with a distant server.
    static let targetRate = 20_000

    @Option var port: Int
    @Option var caFile: String
    @Option var keyFile: String?
    @Option var pushes: Int
    @Option var tokens: Int
    @Option var payloadBytes = 95
    @Option var streams = 1000
    @Option var connections = 1
    /// Pushes in the client concurrently.
    @Option var inFlight = 4000
    @Flag(inversion: .prefixedNo) var warmUp = true

    /// The output: one line of JSON.
    struct Report: Codable {
        var pushes: Int
        var seconds: Double
        var cpuSeconds: Double
        var p50, p99, p999: Double
        var peakResidentMiB: Double
        /// Memory when a tenth of the pushes was answered.
        var earlyResidentMiB: Double
        var longestStallMilliseconds: Double
        /// Answers per second in the best ten seconds, or in the whole run if it is shorter.
        var finalRate: Double
        /// Seconds until the first second with `targetRate` answers; nil if there was none.
        var secondsToTarget: Double?
        var resets: Int
        var requeued: Int
        var connects: Int
        var connections: Int
    }

    mutating func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var configuration = APNSClientConfiguration(endpoint: .init(host: "localhost", port: port))
        configuration.trustRoots = .file(caFile)
        configuration.streamsPerConnectionMax = streams
        configuration.connectionsMax = connections
        // Without a key, the server is another HTTP/2 server, which does not speak APNs.
        configuration.requiresAPNSID = keyFile != nil
        if let keyFile {
            let key = try ProviderTokenKey(file: keyFile, keyID: "DEMOKEY000", teamID: "DEMOTEAM00")
            configuration.credential = .token(ProviderTokenSource(key: key))
        }
        let client = try APNSClient(configuration: configuration, eventLoopGroup: group)
        let payload = BenchPayload.json(bytes: payloadBytes)
        let size = min(500, max(1, inFlight / 5))
        func feeder(_ pushes: Int) -> BatchFeeder {
            BatchFeeder(
                client, BenchPayload.batches(pushes: pushes, tokens: tokens, payload: payload, size: size),
                inFlightMax: inFlight / size
            )
        }
        // Excludes the connection setup and the provider token from the measurement.
        if warmUp { _ = await feeder(20_000).run() }

        let feeder = feeder(pushes)
        let before = ProcessUsage.now
        let start = ContinuousClock.now
        let result = await feeder.run()
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let after = ProcessUsage.now
        guard result.failed == 0 else {
            throw CommandError("\(result.failed) of \(pushes) pushes were not accepted")
        }

        let latencies = result.latencies
        let snapshot = client.snapshot()
        let report = Report(
            pushes: pushes, seconds: seconds, cpuSeconds: after.cpuSeconds - before.cpuSeconds,
            p50: latencies.p50 / .milliseconds(1), p99: latencies.p99 / .milliseconds(1),
            p999: latencies.p999 / .milliseconds(1), peakResidentMiB: Double(after.residentBytesPeak) / 1_048_576,
            earlyResidentMiB: Double(result.earlyResidentBytes) / 1_048_576,
            longestStallMilliseconds: result.longestStall / .milliseconds(1),
            finalRate: result.bestRate(overSeconds: 10) ?? Double(pushes) / seconds,
            secondsToTarget: result.secondsTo(rate: Self.targetRate), resets: Int(snapshot.resets),
            requeued: Int(snapshot.requeued), connects: Int(snapshot.connects), connections: snapshot.connections
        )
        Terminal.writeOutput(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
        await client.shutdown()
        try await group.shutdownGracefully()
    }
}

/// Keeps a constant number of batches in a client until all pushes are answered, so that its connections are never
/// idle.
final class BatchFeeder: APNSAnswerReceiver {
    struct Result: Sendable {
        var failed = 0
        var latencies = LatencyHistogram()
        var answered = 0
        var earlyResidentBytes = 0
        var longestStall = Duration.zero
        /// Answers in each second since the start.
        var perSecond: [Int] = []

        /// nil if the run was shorter. The last second is incomplete and is not counted.
        func bestRate(overSeconds count: Int) -> Double? {
            let complete = perSecond.dropLast()
            guard complete.count >= count else { return nil }
            let sums = (0...complete.count - count).map { complete[$0..<$0 + count].reduce(0, +) }
            return Double(sums.max() ?? 0) / Double(count)
        }

        func secondsTo(rate: Int) -> Double? { perSecond.firstIndex { $0 >= rate }.map { Double($0) } }
    }

    fileprivate struct State {
        var next = 0
        var inFlight = 0
        var start = ContinuousClock.now
        var last = ContinuousClock.now
        var result = Result()
        var whenDone: CheckedContinuation<Result, Never>?
    }

    private let client: APNSClient
    /// Created in advance, so that their creation is not measured.
    private let batches: [NotificationBatch]
    private let inFlightMax: Int
    private let pushes: Int
    private let state = Mutex(State())

    /// - Parameter inFlightMax: batches in the client concurrently.
    init(_ client: APNSClient, _ batches: [NotificationBatch], inFlightMax: Int) {
        self.client = client
        self.batches = batches
        self.inFlightMax = inFlightMax
        pushes = batches.reduce(0) { $0 + $1.count }
    }

    func run() async -> Result {
        await withCheckedContinuation { continuation in
            state.withLock { $0.whenDone = continuation }
            for _ in 0..<inFlightMax { sendNext() }
        }
    }

    private func sendNext() {
        let next = state.withLock { state -> Int? in
            guard state.next < batches.count else { return nil }
            defer {
                state.next += 1
                state.inFlight += 1
            }
            return state.next
        }
        guard let next else { return }
        client.send(
            batches[next], indexes: nil, ticket: UInt64(next),
            timeouts: APNSSendTimeouts(wait: .seconds(60), answer: .seconds(60)), to: self
        )
    }

    func receive(_ answers: APNSAnswers) {
        let now = ContinuousClock.now
        let done = state.withLock { state -> (CheckedContinuation<Result, Never>, Result)? in
            state.record(answers, now: now, pushes: pushes)
            guard answers.isLast else { return nil }
            state.inFlight -= 1
            guard state.inFlight == 0, state.next == batches.count, let whenDone = state.whenDone else { return nil }
            state.whenDone = nil
            return (whenDone, state.result)
        }
        if let (continuation, result) = done { continuation.resume(returning: result) }
        if answers.isLast { sendNext() }
    }
}

extension BatchFeeder.State {
    fileprivate mutating func record(_ answers: APNSAnswers, now: ContinuousClock.Instant, pushes: Int) {
        for answer in answers.answers where answer != .accepted { result.failed += 1 }
        for latency in answers.latencies { result.latencies.record(nanoseconds: UInt64(latency) * 1_000_000) }
        guard !answers.answers.isEmpty else { return }
        result.longestStall = max(result.longestStall, now - last)
        last = now
        let second = Int((now - start) / .seconds(1))
        while result.perSecond.count <= second { result.perSecond.append(0) }
        result.perSecond[second] += answers.answers.count
        let wasEarly = result.answered < pushes / 10
        result.answered += answers.answers.count
        if wasEarly, result.answered >= pushes / 10 {
            result.earlyResidentBytes = Int(ProcessUsage.now.residentBytesPeak)
        }
    }
}

/// The pushes of benchmarks: an alert of a given size, with tokens derived from a number.
enum BenchPayload {
    static func json(bytes: Int) -> [UInt8] {
        let head = "{\"aps\":{\"alert\":{\"title\":\"Benchmark\",\"body\":\""
        let tail = "\"},\"sound\":\"default\"}}"
        let filler = String(repeating: "x", count: max(1, bytes - head.utf8.count - tail.utf8.count))
        return Array((head + filler + tail).utf8)
    }

    static func token(_ number: Int) -> [UInt8] {
        var token = [UInt8](repeating: 0xA5, count: 32)
        withUnsafeBytes(of: UInt64(number).bigEndian) { token.replaceSubrange(0..<8, with: $0) }
        return token
    }

    static func hexToken(_ number: Int) -> String {
        token(number).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    static func batches(pushes: Int, tokens: Int, payload: [UInt8], size: Int) -> [NotificationBatch] {
        let headers = NotificationHeaders(topic: "com.example.app", pushType: .alert, priority: .immediate)
        return stride(from: 0, to: pushes, by: size).map { start in
            let id = BatchID.random(at: WallTime(milliseconds: 1_700_000_000_000 + Int64(start)))
            var batch = NotificationBatch(firstID: id.value)
            for number in start..<min(start + size, pushes) {
                token(number % tokens).withUnsafeBytes { token in
                    payload.withUnsafeBytes { batch.append(token: token, payload: $0, headers: headers) }
                }
            }
            return batch
        }
    }

    /// Pushes as NDJSON for the HTTP API: one push per line.
    static func ndjson(pushes: Int, payload: [UInt8], firstToken: Int = 0, extra: String = "") -> [UInt8] {
        var text: [UInt8] = []
        let payload = String(decoding: payload, as: UTF8.self)
        for number in firstToken..<firstToken + pushes {
            text += Array("{\"device_token\":\"\(hexToken(number))\",\"payload\":\(payload)\(extra)}\n".utf8)
        }
        return text
    }
}
