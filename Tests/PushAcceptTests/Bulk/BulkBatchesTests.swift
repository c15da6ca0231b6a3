import APNSWire
import Foundation
import PushAccept
import PushModel
import Testing

/// How the pushes of one bulk request are divided into batches.
@Suite struct `Batches of a bulk request` {
    private static let count = 50_000
    private static let now = TestGateway.now.seconds

    /// Sends `lines` in one request with an `Idempotency-Key`, which is parsed before its batches are stored.
    ///
    /// - Returns: the batches in the order in which they were stored.
    private static func batches(
        apps: AppDirectory = TestGateway.oneApp, lines: [String]
    ) async throws -> [Batch] {
        let queue = FaultyStore()
        try await TestGateway.run(apps: apps, queue: queue) { gateway in
            let response = try await gateway.post(
                "/push/batch", lines.joined(separator: "\n"), type: "application/x-ndjson",
                headers: ["Idempotency-Key: k"])
            try #require(response.status == 200, "\(response.body.prefix(300))")
            let results = response.lines
            try #require(results.count == lines.count)
            let batches = gateway.queue.batches
            let byID = Dictionary(uniqueKeysWithValues: batches.map { ($0.id, $0) })
            for (index, result) in results.enumerated() {
                let id = try #require(PushID(result["msg_id"] as? String ?? ""))
                let batch = try #require(byID[id.batch])
                try #require(number(batch, id.index) == index, "results are in the order of the items")
            }
        }
        return queue.batches
    }

    /// The number of the push, from its token.
    private static func number(_ batch: Batch, _ index: Int) -> Int {
        batch.notifications.token(at: index).suffix(4).reduce(0) { $0 << 8 | Int($1) }
    }

    /// The due times are spread as those of a campaign that is sent at 9 o'clock of each device.
    enum Shape: String, CaseIterable, Sendable {
        case past, day, tenMinutes

        func due(_ number: Int) -> Int64 {
            let spread = Int64(number * 7919)
            return switch self {
            case .past: now - 1 - spread % 50_000
            case .day: now + 1 + spread % 50_400
            case .tenMinutes: now + 1 + spread % 600
            }
        }

        var batchesMax: Int {
            switch self {
            // As without due times.
            case .past: 100
            case .day: 330
            case .tenMinutes: 121
            }
        }
    }

    @Test(arguments: Shape.allCases)
    func `there are few batches, whatever the due times are`(shape: Shape) async throws {
        let lines = (0..<Self.count).map { pushLine($0, #","not_before":\#(shape.due($0))"#) }
        let batches = try await Self.batches(lines: lines)
        #expect(batches.count <= shape.batchesMax, "\(batches.count)")
        for batch in batches {
            if shape == .past {
                #expect(batch.dueTimes.isAbsent)
                continue
            }
            let first = batch.firstDue.seconds
            let last = batch.lastDue.seconds
            #expect(last - first < max(30, (last - Self.now) / 32), "\(first - Self.now) to \(last - Self.now)")
            for index in 0..<batch.count {
                try #require(batch.due(of: UInt16(index)).seconds == shape.due(Self.number(batch, index)))
            }
        }
    }

    /// More apps than there are open batches.
    private static let apps = AppDirectory(
        apps: (0..<300).map { ConfiguredApp(id: AppID("app\($0)"), bundleID: "com.example.app") })

    @Test func `one batch too many closes the fullest one and no other`() async throws {
        var apps = (0..<256).flatMap { [$0, $0, $0] }
        apps += [7, 7, 256] + (0..<256)
        let lines = apps.enumerated().map { pushLine($0, #","app":"app\#($1)""#) }
        let batches = try await Self.batches(apps: Self.apps, lines: lines)
        let counts = Dictionary(grouping: batches, by: \.app.name).mapValues { $0.map(\.count) }
        #expect(counts["app7"] == [5, 1])
        #expect(counts["app256"] == [1])
        #expect(counts.filter { $0.value != [4] }.keys.sorted() == ["app256", "app7"], "\(counts)")
    }

    @Test func `the order within an app and lane is kept`() async throws {
        var generator = SystemRandomNumberGenerator()
        let keys = (0..<3000).map { _ in
            (app: Int.random(in: 0..<300, using: &generator), isUrgent: Bool.random(using: &generator))
        }
        let lines = keys.enumerated().map { number, key in
            pushLine(number, #","app":"app\#(key.app)","lane":"\#(key.isUrgent ? "urgent" : "bulk")""#)
        }
        let batches = try await Self.batches(apps: Self.apps, lines: lines)
        for (key, batches) in Dictionary(grouping: batches, by: { "\($0.app) \($0.lane)" }) {
            let numbers = batches.flatMap { batch in (0..<batch.count).map { Self.number(batch, $0) } }
            #expect(numbers == numbers.sorted(), "\(key)")
            #expect(numbers.allSatisfy { "app\(keys[$0].app) \(keys[$0].isUrgent ? "urgent" : "bulk")" == key })
        }
        #expect(batches.reduce(0) { $0 + $1.count } == keys.count)
    }

    @Test func `a stream with many due times is accepted in order`() async throws {
        try await TestGateway.run { gateway in
            let lines = (0..<Self.count).map { pushLine($0, #","not_before":\#(Shape.day.due($0))"#) }
            let response = try await gateway.post(
                "/push/batch", lines.joined(separator: "\n"), type: "application/x-ndjson")
            let byID = Dictionary(uniqueKeysWithValues: gateway.queue.batches.map { ($0.id, $0) })
            let results = response.lines
            try #require(results.count == Self.count)
            for (index, result) in results.enumerated() {
                let id = try #require(PushID(result["msg_id"] as? String ?? ""))
                let batch = try #require(byID[id.batch])
                try #require(Self.number(batch, id.index) == index)
                try #require(batch.due(of: UInt16(id.index)).seconds == Shape.day.due(index))
            }
        }
    }
}
