import APNSKit
import APNSWire
import ArgumentParser
import Foundation
import NIOPosix
import PushModel
import Synchronization
import Telemetry

/// The process under test of the client benchmarks: sends pushes with an `APNSClient` and prints what it cost.
struct ClientWorker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-client", shouldDisplay: false)

    @Option var port: Int
    @Option var caFile: String
    @Option var keyFile: String?
    @Option var pushes: Int
    @Option var tokens: Int
    @Option var payloadBytes = 95
    @Option var streams = 1000

    /// What it prints: one line of JSON.
    struct Report: Codable {
        var pushes: Int
        var seconds: Double
        var cpuSeconds: Double
        var p50, p99, p999: Double
        var peakResidentMiB: Double
    }

    mutating func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var configuration = APNSClientConfiguration(endpoint: .init(host: "localhost", port: port))
        configuration.trustRoots = .file(caFile)
        configuration.streamsPerConnectionMax = streams
        configuration.connectionsMax = 1
        if let keyFile {
            let key = try ProviderTokenKey(file: keyFile, keyID: "DEMOKEY000", teamID: "DEMOTEAM00")
            configuration.credential = .token(ProviderTokenSource(key: key))
        }
        let client = try APNSClient(configuration: configuration, eventLoopGroup: group)
        let payload = BenchPayload.json(bytes: payloadBytes)

        // Connection, provider token and stream limit are not what is measured.
        _ = await BatchFeeder(client, BenchPayload.batches(pushes: 20_000, tokens: tokens, payload: payload)).run()

        let feeder = BatchFeeder(client, BenchPayload.batches(pushes: pushes, tokens: tokens, payload: payload))
        let before = ProcessUsage.now
        let start = ContinuousClock.now
        let result = await feeder.run()
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let after = ProcessUsage.now
        guard result.failed == 0 else {
            throw CommandError("\(result.failed) of \(pushes) pushes were not answered 200.")
        }

        let latencies = result.latencies
        let report = Report(
            pushes: pushes, seconds: seconds, cpuSeconds: after.cpuSeconds - before.cpuSeconds,
            p50: latencies.p50 / .milliseconds(1), p99: latencies.p99 / .milliseconds(1),
            p999: latencies.p999 / .milliseconds(1), peakResidentMiB: Double(after.residentBytesPeak) / 1_048_576
        )
        Terminal.say(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
        await client.shutdown()
        try await group.shutdownGracefully()
    }
}

/// Keeps a few batches inside a client until all are answered, so that its connection never runs dry.
final class BatchFeeder: APNSAnswerReceiver {
    struct Result: Sendable {
        var failed = 0
        var latencies = LatencyHistogram()
    }

    private struct State {
        var next = 0
        var open = 0
        var result = Result()
        var whenDone: CheckedContinuation<Result, Never>?
    }

    private static let batchesInClient = 8
    private let client: APNSClient
    private let batches: [NotificationBatch]
    private let state = Mutex(State())

    init(_ client: APNSClient, _ batches: [NotificationBatch]) {
        self.client = client
        self.batches = batches
    }

    func run() async -> Result {
        await withCheckedContinuation { continuation in
            state.withLock { $0.whenDone = continuation }
            for _ in 0..<Self.batchesInClient { sendNext() }
        }
    }

    private func sendNext() {
        let next = state.withLock { state -> Int? in
            guard state.next < batches.count else { return nil }
            defer {
                state.next += 1
                state.open += 1
            }
            return state.next
        }
        guard let next else { return }
        client.send(batches[next], indexes: nil, ticket: UInt64(next), deadline: .seconds(60), to: self)
    }

    func receive(_ answers: APNSAnswers) {
        let done = state.withLock { state -> (CheckedContinuation<Result, Never>, Result)? in
            for answer in answers.answers where answer != .accepted { state.result.failed += 1 }
            for latency in answers.latencies { state.result.latencies.record(nanoseconds: UInt64(latency) * 1_000_000) }
            guard answers.isLast else { return nil }
            state.open -= 1
            guard state.open == 0, state.next == batches.count, let whenDone = state.whenDone else { return nil }
            state.whenDone = nil
            return (whenDone, state.result)
        }
        if let (continuation, result) = done { continuation.resume(returning: result) }
        if answers.isLast { sendNext() }
    }
}

/// Pushes as benchmarks send them: a token and an id of its own for each, one alert of a given size.
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

    static func batches(pushes: Int, tokens: Int, payload: [UInt8], size: Int = 500) -> [NotificationBatch] {
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

    /// The same as NDJSON for the HTTP API: one push a line.
    static func ndjson(pushes: Int, payload: [UInt8], firstToken: Int = 0, extra: String = "") -> [UInt8] {
        var text: [UInt8] = []
        let payload = String(decoding: payload, as: UTF8.self)
        for number in firstToken..<firstToken + pushes {
            text += Array("{\"device_token\":\"\(hexToken(number))\",\"payload\":\(payload)\(extra)}\n".utf8)
        }
        return text
    }
}
