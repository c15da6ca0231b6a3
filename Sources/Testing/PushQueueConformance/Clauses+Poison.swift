import PushModel
import PushQueue

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
                crashes, is: PoisonLimits.crashDeliveriesMax + PoisonLimits.aloneDeliveriesMax, "deaths until it is out"
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
            for _ in 0..<PoisonLimits.crashDeliveriesMax {
                try expect(try await harness.claimOne().isAlone, is: false, "whole, while it is not suspected")
                try await harness.crash()
            }
            let withoutAlone = ClaimRequest(batchesMax: 9, lease: .seconds(20), isAloneAllowed: false)
            try expect(try await harness.queue.claim(withoutAlone).count, is: 0, "no push alone unless it is allowed")
            var order: [Int] = []
            for _ in 0..<4 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isAlone, "alone")
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
        Clause("a holder that died after it recorded news is not held against the batch") { harness in
            let batch = Samples.batch(9, at: try await harness.now)
            try await harness.append(batch)
            for index in 0..<5 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isAlone, is: false, "not suspected")
                _ = try await harness.settle(claimed.lease, Samples.delivered([index]))
                try await harness.crash()
            }
        },
        Clause("a lease that is given back is not held against the batch") { harness in
            try await harness.append(Samples.batch(2, at: try await harness.now))
            for _ in 0..<5 {
                let claimed = try await harness.claimOne()
                try expect(claimed.isAlone, is: false, "not suspected")
                _ = try await harness.settle(claimed.lease, release: .release)
            }
        },
        Clause("leases that run out count like deaths") { harness in
            _ = try await harness.appendClaimed(Samples.batch(2, at: try await harness.now))
            for _ in 0..<PoisonLimits.crashDeliveriesMax {
                try expect(try await harness.claim().isEmpty, "it is leased")
                try await harness.advance(by: .seconds(21))
                if try await harness.claimOne().isAlone { return }
            }
            throw BrokenClause(description: "the batch is not suspected")
        },
    ]
}
