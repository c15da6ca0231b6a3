import PushModel
import PushStore

extension QueueConformance {
    static let poison: [Clause] = [
        Clause("a push that crashes its holder is given up, and all other pushes of its batch are delivered") {
            harness in
            let now = try await harness.now
            let batch = Samples.batch(5, at: now)
            let other = Samples.batch(3, at: now + .milliseconds(1))
            try await harness.append(batch, other)
            try await harness.advance(by: .seconds(1))
            var crashes = 0
            while case let claims = try await harness.claim(), !claims.isEmpty {
                var isCrash = false
                for claimed in claims {
                    let indexes = claimed.pending?.map { Int($0.index) } ?? Array(0..<claimed.batch.count)
                    if claimed.batch.id == batch.id, indexes.contains(2) {
                        isCrash = true
                    } else {
                        _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                    }
                }
                guard isCrash else { continue }
                crashes += 1
                try expect(crashes <= 9, "it crashes its holder without end")
                try await harness.crash()
            }
            try expect(
                crashes, is: PoisonLimits.redeliveriesBeforeQuarantine + PoisonLimits.isolatedRedeliveriesMax,
                "crashes until it is given up"
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
        Clause("a batch that was held during unrelated crashes continues push by push, and loses nothing") { harness in
            let batch = Samples.batch(4, at: try await harness.now)
            try await harness.append(batch)
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                try expect(try await harness.claimOne().isQuarantined, is: false, "whole, before it is quarantined")
                try await harness.crash()
            }
            let withoutQuarantined = ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: 0)
            try expect(
                try await harness.claim(withoutQuarantined).count, is: 0,
                "no quarantined push unless the request allows it")
            var order: [Int] = []
            for _ in 0..<4 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isQuarantined, "it is quarantined")
                let pending = try require(claimed.pending, "its push")
                try expect(pending.count, is: 1, "one push at a time")
                order += pending.map { Int($0.index) }
                try expect(try await harness.claim().isEmpty, "no second one at the same time")
                _ = try await harness.settle(claimed.lease, Samples.delivered([order.last!]), release: .release)
            }
            try expect(order, is: [0, 1, 2, 3], "each once")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "finished")
            try expect(try await harness.states(batch).allSatisfy { $0 == .settled(.delivered) }, "delivered")
        },
        Clause("a claim returns at most the requested number of quarantined pushes, and the apps take turns") {
            harness in
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
            func trial(_ quarantinedMax: Int, without: Set<AppEnvironment> = []) async throws -> [String] {
                let request = ClaimRequest(
                    batchesMax: 9, lease: .seconds(20), quarantinedMax: quarantinedMax, excludedQuarantined: without
                )
                let claims = try await harness.claim(request)
                try expect(claims.allSatisfy(\.isQuarantined), "quarantined")
                for claimed in claims {
                    let indexes = try require(claimed.pending, "its pushes").map { Int($0.index) }
                    _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                }
                return claims.map { "\($0.batch.app) \($0.pendingCount)" }
            }
            try expect(try await trial(0), is: [], "none unless the request allows it")
            try expect(
                try await trial(1, without: [AppEnvironment(b)]), is: ["a 1"],
                "none of an app whose quarantined batches are excluded")
            try expect(try await trial(1), is: ["b 1"], "the other app's turn")
            try expect(try await trial(3), is: ["a 2", "a 1"], "a trial has several batches, of one app")
            try expect(try await trial(3), is: ["b 1"], "the other app's turn")
            try expect(try await trial(3), is: ["a 1"], "the rest")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "finished")
        },
        Clause(
            "urgent quarantined batches of one app do not go before all of another, and a trial may have many batches"
        ) {
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
            func trial(_ quarantinedMax: Int) async throws -> [AppID: Int] {
                let claims = try await harness.claim(
                    ClaimRequest(batchesMax: 2, lease: .seconds(20), quarantinedMax: quarantinedMax)
                )
                for claimed in claims {
                    let indexes = try require(claimed.pending, "its pushes").map { Int($0.index) }
                    _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                }
                return claims.reduce(into: [:]) { $0[$1.batch.app, default: 0] += $1.pendingCount }
            }
            try expect(try await trial(20), is: [a: 20], "many batches in one trial")
            try expect(try await trial(40), is: [b: 2], "the other app's turn, whatever its lane")
            try expect(try await trial(40), is: [a: 20], "the rest")
        },
        Clause("quarantined batches that were in no crashed trial go before those that are tried alone") { harness in
            let now = try await harness.now
            let (first, second) = (Samples.batch(3, at: now), Samples.batch(2, at: now + .milliseconds(1)))
            try await harness.append(first, second)
            try await harness.advance(by: .seconds(1))
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                _ = try await harness.claim()
                try await harness.crash()
            }
            func trial(_ quarantinedMax: Int) async throws -> [ClaimedBatch] {
                try await harness.claim(
                    ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: quarantinedMax))
            }
            try expect(try await trial(3).map(\.batch.id), is: [first.id], "the oldest")
            try await harness.crash()
            let next = try await trial(9)
            try expect(next.map(\.batch.id), is: [second.id], "the batch that was not in the trial")
            _ = try await harness.settle(next[0].lease, Samples.delivered([0, 1]), release: .release)
            try expect(try await trial(9).map(\.pendingCount), is: [1], "then the other batch, one push at a time")
        },
        Clause("a crash of a trial does not count against its last push, which was not alone") { harness in
            let now = try await harness.now
            let (first, last) = (Samples.batch(3, at: now), Samples.batch(1, at: now + .milliseconds(1)))
            try await harness.append(first, last)
            try await harness.advance(by: .seconds(1))
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                _ = try await harness.claim()
                try await harness.crash()
            }
            func trial() async throws -> [ClaimedBatch] {
                try await harness.claim(ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: 4))
            }
            try expect(try await trial().map(\.pendingCount), is: [3, 1], "the trial")
            try await harness.crash()
            for index in 0..<3 {
                let claimed = try require(try await trial().first, "a push alone")
                _ = try await harness.settle(claimed.lease, Samples.delivered([index]), release: .release)
            }
            for _ in 0..<PoisonLimits.isolatedRedeliveriesMax {
                try expect(try await trial().map(\.batch.id), is: [last.id], "it is tried alone")
                try await harness.crash()
            }
            try expect(try await trial().isEmpty, "and given up")
        },
        Clause("a push that crashes its holder during a trial is found push by push") { harness in
            let now = try await harness.now
            let (poisoned, neighbour) = (Samples.batch(6, at: now), Samples.batch(3, at: now + .milliseconds(1)))
            try await harness.append(poisoned, neighbour)
            try await harness.advance(by: .seconds(1))
            var (crashes, quarantinedMax, sizes) = (0, 1, [[Int]]())
            while true {
                let claims = try await harness.claim(
                    ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: quarantinedMax)
                )
                guard !claims.isEmpty else { break }
                if claims[0].isQuarantined { sizes.append(claims.map(\.pendingCount)) }
                let crashesHolder = claims.contains { claimed in
                    claimed.batch.id == poisoned.id && claimed.pending?.contains { $0.index == 4 } ?? true
                }
                if crashesHolder {
                    (crashes, quarantinedMax) = (crashes + 1, 1)
                    try expect(crashes <= 9, "it crashes its holder without end")
                    try await harness.crash()
                } else {
                    quarantinedMax *= 2
                    for claimed in claims {
                        let indexes = claimed.pending?.map { Int($0.index) } ?? Array(0..<claimed.batch.count)
                        _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                    }
                }
            }
            try expect(crashes, is: 6, "three with whole batches, one in a trial, two alone")
            // A batch that was in a trial with the poison is tried alone as well.
            let alone = Array(repeating: [1], count: 7)
            try expect(sizes, is: [[1], [2], [3, 1]] + alone, "pushes of each batch, by trial")
            let ends: [PushStatus.State?] = (0..<6).map { .settled($0 == 4 ? .givenUp : .delivered) }
            try expect(try await harness.states(poisoned), is: ends, "the batch with the poison")
            try expect(
                try await harness.states(neighbour), is: Array(repeating: .settled(.delivered), count: 3),
                "the other batch"
            )
        },
        Clause("an update of some pushes of a trial does not excuse a crash over the others") { harness in
            let batch = Samples.batch(4, at: try await harness.now)
            try await harness.append(batch)
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                _ = try await harness.claimOne()
                try await harness.crash()
            }
            let request = ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: 3)
            let claimed = try require(try await harness.claim(request).first, "a trial")
            try expect(claimed.pendingCount, is: 3, "its pushes")
            _ = try await harness.settle(claimed.lease, Samples.delivered([0]))
            try await harness.crash()
            let next = try require(try await harness.claim(request).first, "the next trial")
            try expect(next.pending?.map(\.index), is: [1], "alone")
        },
        Clause("a crash after a recorded update does not count against the batch") { harness in
            let batch = Samples.batch(9, at: try await harness.now)
            try await harness.append(batch)
            for index in 0..<5 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isQuarantined, is: false, "not quarantined")
                _ = try await harness.settle(claimed.lease, Samples.delivered([index]))
                try await harness.crash()
            }
        },
        Clause("a released lease does not count against the batch") { harness in
            try await harness.append(Samples.batch(2, at: try await harness.now))
            for _ in 0..<5 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isQuarantined, is: false, "not quarantined")
                _ = try await harness.settle(claimed.lease, release: .release)
            }
        },
        Clause("a lease whose holder had not begun to send never counts, whether it ends with a crash or runs out") {
            harness in
            let now = try await harness.now
            let (waiting, sent) = (Samples.batch(3, at: now), Samples.batch(2, at: now + .milliseconds(1)))
            try await harness.append(waiting, sent)
            try await harness.advance(by: .seconds(1))
            let request = ClaimRequest(batchesMax: 9, lease: .seconds(20), quarantinedMax: 0)
            for round in 0..<2 * PoisonLimits.redeliveriesBeforeQuarantine {
                let claims = try await harness.queue.claim(request)
                try expect(
                    Set(claims.map(\.batch.id)),
                    is: round < PoisonLimits.redeliveriesBeforeQuarantine ? [waiting.id, sent.id] : [waiting.id],
                    "claimed whole"
                )
                let begun = claims.filter { $0.batch.id == sent.id }.map(\.lease)
                harness.queue.begun(begun)
                // Neither an older lease nor a repeated note changes anything.
                harness.queue.begun(begun + claims.map { Lease(batch: $0.lease.batch, epoch: $0.lease.epoch - 1) })
                if round.isMultiple(of: 2) {
                    try await harness.crash()
                } else {
                    try await harness.advance(by: .seconds(21))
                }
            }
        },
        Clause("a push that is tried alone does not count a crash before its send") { harness in
            let batch = Samples.batch(1, at: try await harness.now)
            try await harness.append(batch)
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                _ = try await harness.claimOne()
                try await harness.crash()
            }
            for _ in 0..<2 * PoisonLimits.isolatedRedeliveriesMax {
                let claims = try await harness.queue.claim(ClaimRequest(batchesMax: 9, lease: .seconds(20)))
                try expect(claims.map(\.isQuarantined), is: [true], "it is tried alone")
                try await harness.crash()
            }
            for _ in 0..<PoisonLimits.isolatedRedeliveriesMax {
                _ = try await harness.claimOne()
                try await harness.crash()
            }
            try expect(try await harness.claim().isEmpty, "and given up after crashes of its sends")
        },
        Clause("expired leases count like crashes") { harness in
            _ = try await harness.appendClaimed(Samples.batch(2, at: try await harness.now))
            for _ in 0..<PoisonLimits.redeliveriesBeforeQuarantine {
                try expect(try await harness.claim().isEmpty, "it is leased")
                try await harness.advance(by: .seconds(21))
                if try await harness.claimOne().isQuarantined { return }
            }
            throw BrokenClause(description: "the batch is not quarantined")
        },
    ]
}
