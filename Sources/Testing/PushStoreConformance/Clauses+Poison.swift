import PushModel
import PushStore

extension QueueConformance {
    static let poison: [Clause] = [
        Clause("a push that kills its holder is given up alone, and all its neighbours are delivered") { harness in
            let now = try await harness.now
            let batch = Samples.batch(5, at: now)
            let other = Samples.batch(3, at: now + .milliseconds(1))
            try await harness.append(batch, other)
            try await harness.advance(by: .seconds(1))
            var crashes = 0
            while case let claims = try await harness.claim(), !claims.isEmpty {
                var isKilled = false
                for claimed in claims {
                    let indexes = claimed.pending?.map { Int($0.index) } ?? Array(0..<claimed.batch.count)
                    if claimed.batch.id == batch.id, indexes.contains(2) {
                        isKilled = true
                    } else {
                        _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                    }
                }
                guard isKilled else { continue }
                crashes += 1
                try expect(crashes <= 9, "it kills its holder for ever")
                try await harness.crash()
            }
            try expect(
                crashes, is: PoisonLimits.redeliveriesBeforeQuarantine + PoisonLimits.isolatedRedeliveriesMax,
                "deaths until it is out"
            )
            let ends: [PushStatus.State?] = (0..<5).map { .settled($0 == 2 ? .givenUp : .delivered) }
            try expect(try await harness.states(batch), is: ends, "the batch")
            try expect(try await harness.status(batch, 2).code, is: .poison, "the code")
            try expect(
                try await harness.states(other), is: Array(repeating: .settled(.delivered), count: 3), "the other")
            let letters = try await harness.queue.deadLetters(of: nil, after: nil, limit: 9)
            try expect(letters.map(\.id), is: [batch.id.push(2)], "the dead letter")
            try expect(letters.map(\.code), is: [.poison], "its code")
        },
        Clause("crashes by chance make a batch go on push by push, and lose nothing") { harness in
            let batch = Samples.batch(4, at: try await harness.now)
            try await harness.append(batch)
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                try expect(try await harness.claimOne().isQuarantined, is: false, "whole, while it is not suspected")
                try await harness.crash()
            }
            let withoutAlone = ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: 0)
            try expect(try await harness.queue.claim(withoutAlone).count, is: 0, "no push alone unless it is allowed")
            var order: [Int] = []
            for _ in 0..<4 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isQuarantined, "alone")
                let pending = try require(claimed.pending, "its push")
                try expect(pending.count, is: 1, "one push at a time")
                order += pending.map { Int($0.index) }
                try expect(try await harness.claim().isEmpty, "no second one beside it")
                _ = try await harness.settle(claimed.lease, Samples.delivered([order.last!]), release: .release)
            }
            try expect(order, is: [0, 1, 2, 3], "each once")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "finished")
            try expect(try await harness.states(batch).allSatisfy { $0 == .settled(.delivered) }, "delivered")
        },
        Clause("suspects come in pieces as large as asked for, and the apps take turns") { harness in
            let now = try await harness.now
            let (a, b) = (AppID("a"), AppID("b"))
            let batches = [
                Samples.batch(3, at: now, app: a), Samples.batch(2, at: now + .milliseconds(1), app: a),
                Samples.batch(2, at: now + .milliseconds(2), app: b),
            ]
            for batch in batches { try await harness.append(batch) }
            try await harness.advance(by: .seconds(1))
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                try expect(try await harness.claim().count, is: 3, "whole")
                try await harness.crash()
            }
            func piece(_ quarantinedMax: Int, without: Set<AppID> = []) async throws -> [String] {
                let request = ClaimRequest(
                    batchesMax: 9, lease: .seconds(20), quarantinedMax: quarantinedMax, excludedQuarantined: without
                )
                let claims = try await harness.queue.claim(request)
                try expect(claims.allSatisfy(\.isQuarantined), "suspects")
                for claimed in claims {
                    let indexes = try require(claimed.pending, "its pushes").map { Int($0.index) }
                    _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                }
                return claims.map { "\($0.batch.app) \($0.pendingCount)" }
            }
            try expect(try await piece(0), is: [], "none unless they are allowed")
            try expect(try await piece(1, without: [b]), is: ["a 1"], "none of an app whose suspects are to wait")
            try expect(try await piece(1), is: ["b 1"], "the other app's turn")
            try expect(try await piece(3), is: ["a 2", "a 1"], "a piece goes over batches, and not over apps")
            try expect(try await piece(3), is: ["b 1"], "the other app's turn")
            try expect(try await piece(3), is: ["a 1"], "the rest")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "finished")
        },
        Clause("urgent suspects of one app do not go before all of another, and a piece may have many batches") {
            harness in
            let now = try await harness.now
            let (a, b) = (AppID("a"), AppID("b"))
            for index in 0..<40 {
                try await harness.append(Samples.batch(1, at: now + .milliseconds(Int64(index)), app: a, lane: .urgent))
            }
            try await harness.append(Samples.batch(2, at: now, app: b, lane: .bulk))
            try await harness.advance(by: .seconds(1))
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                try expect(try await harness.claim().count, is: 41, "whole")
                try await harness.crash()
            }
            func piece(_ quarantinedMax: Int) async throws -> [AppID: Int] {
                let claims = try await harness.queue.claim(
                    ClaimRequest(batchesMax: 2, lease: .seconds(20), quarantinedMax: quarantinedMax)
                )
                for claimed in claims {
                    let indexes = try require(claimed.pending, "its pushes").map { Int($0.index) }
                    _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                }
                return claims.reduce(into: [:]) { $0[$1.batch.app, default: 0] += $1.pendingCount }
            }
            try expect(try await piece(20), is: [a: 20], "many batches in one piece")
            try expect(try await piece(40), is: [b: 2], "the other app's turn, whatever its lane")
            try expect(try await piece(40), is: [a: 20], "the rest")
        },
        Clause("suspects that were not beside a death go before those that are tried alone") { harness in
            let now = try await harness.now
            let (first, second) = (Samples.batch(3, at: now), Samples.batch(2, at: now + .milliseconds(1)))
            try await harness.append(first, second)
            try await harness.advance(by: .seconds(1))
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                _ = try await harness.claim()
                try await harness.crash()
            }
            func piece(_ quarantinedMax: Int) async throws -> [ClaimedBatch] {
                try await harness.queue.claim(
                    ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: quarantinedMax))
            }
            try expect(try await piece(3).map(\.batch.id), is: [first.id], "the oldest")
            try await harness.crash()
            let next = try await piece(9)
            try expect(next.map(\.batch.id), is: [second.id], "what was not beside the death")
            _ = try await harness.settle(next[0].lease, Samples.delivered([0, 1]), release: .release)
            try expect(try await piece(9).map(\.pendingCount), is: [1], "then the others, one push at a time")
        },
        Clause("the last push of a piece was not alone: its death there is not held against it") { harness in
            let now = try await harness.now
            let (first, last) = (Samples.batch(3, at: now), Samples.batch(1, at: now + .milliseconds(1)))
            try await harness.append(first, last)
            try await harness.advance(by: .seconds(1))
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                _ = try await harness.claim()
                try await harness.crash()
            }
            func piece() async throws -> [ClaimedBatch] {
                try await harness.queue.claim(ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: 4))
            }
            try expect(try await piece().map(\.pendingCount), is: [3, 1], "the piece")
            try await harness.crash()
            for index in 0..<3 {
                let claimed = try require(try await piece().first, "a push alone")
                _ = try await harness.settle(claimed.lease, Samples.delivered([index]), release: .release)
            }
            for _ in 0..<PoisonLimits.isolatedRedeliveriesMax {
                try expect(try await piece().map(\.batch.id), is: [last.id], "it is tried alone")
                try await harness.crash()
            }
            try expect(try await piece().isEmpty, "and given up")
        },
        Clause("what kills its holder in a piece of suspects is found push by push") { harness in
            let now = try await harness.now
            let (poisoned, innocent) = (Samples.batch(6, at: now), Samples.batch(3, at: now + .milliseconds(1)))
            try await harness.append(poisoned, innocent)
            try await harness.advance(by: .seconds(1))
            var (crashes, quarantinedMax, sizes) = (0, 1, [[Int]]())
            while true {
                let claims = try await harness.queue.claim(
                    ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: quarantinedMax)
                )
                guard !claims.isEmpty else { break }
                if claims[0].isQuarantined { sizes.append(claims.map(\.pendingCount)) }
                let kills = claims.contains { claimed in
                    claimed.batch.id == poisoned.id && claimed.pending?.contains { $0.index == 4 } ?? true
                }
                if kills {
                    (crashes, quarantinedMax) = (crashes + 1, 1)
                    try expect(crashes <= 9, "it kills its holder for ever")
                    try await harness.crash()
                } else {
                    quarantinedMax *= 2
                    for claimed in claims {
                        let indexes = claimed.pending?.map { Int($0.index) } ?? Array(0..<claimed.batch.count)
                        _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                    }
                }
            }
            try expect(crashes, is: 6, "three whole, one in a piece, two alone")
            // A batch that came beside the poison is tried alone, too.
            let alone = Array(repeating: [1], count: 7)
            try expect(sizes, is: [[1], [2], [3, 1]] + alone, "pushes of each batch, piece by piece")
            let ends: [PushStatus.State?] = (0..<6).map { .settled($0 == 4 ? .givenUp : .delivered) }
            try expect(try await harness.states(poisoned), is: ends, "the batch with the poison")
            try expect(
                try await harness.states(innocent), is: Array(repeating: .settled(.delivered), count: 3),
                "its neighbour"
            )
        },
        Clause("news of some suspects do not excuse the death over the others") { harness in
            let batch = Samples.batch(4, at: try await harness.now)
            try await harness.append(batch)
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                _ = try await harness.claimOne()
                try await harness.crash()
            }
            let request = ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: 3)
            let claimed = try require(try await harness.queue.claim(request).first, "a piece")
            try expect(claimed.pendingCount, is: 3, "the piece")
            _ = try await harness.settle(claimed.lease, Samples.delivered([0]))
            try await harness.crash()
            let next = try require(try await harness.queue.claim(request).first, "the next piece")
            try expect(next.pending?.map(\.index), is: [1], "alone")
        },
        Clause("a holder that died after it recorded news is not held against the batch") { harness in
            let batch = Samples.batch(9, at: try await harness.now)
            try await harness.append(batch)
            for index in 0..<5 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isQuarantined, is: false, "not suspected")
                _ = try await harness.settle(claimed.lease, Samples.delivered([index]))
                try await harness.crash()
            }
        },
        Clause("a lease that is given back is not held against the batch") { harness in
            try await harness.append(Samples.batch(2, at: try await harness.now))
            for _ in 0..<5 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isQuarantined, is: false, "not suspected")
                _ = try await harness.settle(claimed.lease, release: .release)
            }
        },
        Clause("leases that run out count like deaths") { harness in
            _ = try await harness.appendClaimed(Samples.batch(2, at: try await harness.now))
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                try expect(try await harness.claim().isEmpty, "it is leased")
                try await harness.advance(by: .seconds(21))
                if try await harness.claimOne().isQuarantined { return }
            }
            throw BrokenClause(description: "the batch is not suspected")
        },
    ]
}
