import PushModel
import PushStore

extension QueueConformance {
    static let fairness: [Clause] = [
        Clause("single pushes of an app do not wait for a flood of another app") { harness in
            let now = try await harness.now
            for _ in 0..<20 { try await harness.append(Samples.batch(1000, at: now, app: AppID("flood"))) }
            for _ in 0..<5 { try await harness.append(Samples.batch(at: now + .milliseconds(9), app: AppID("quiet"))) }
            try await harness.advance(by: .milliseconds(10))
            let claimed = try await harness.claim(10).map(\.batch.app.name)
            try expect(claimed.filter { $0 == "quiet" }.count, is: 5, "of the quiet app")
            try expect(claimed.filter { $0 == "flood" }.count, is: 5, "of the flood")
        },
        Clause("apps with a backlog get equal numbers of pushes, whatever the size of their batches") { harness in
            let now = try await harness.now
            for _ in 0..<6 { try await harness.append(Samples.batch(1000, at: now, app: AppID("large"))) }
            for _ in 0..<60 { try await harness.append(Samples.batch(100, at: now, app: AppID("small"))) }
            var pushes: [String: Int] = [:]
            for _ in 0..<33 {
                for claimed in try await harness.claim(1) {
                    pushes[claimed.batch.app.name, default: 0] += claimed.batch.count
                }
            }
            let (large, small) = (pushes["large", default: 0], pushes["small", default: 0])
            try expect(abs(large - small) <= 1000, "\(large) and \(small) pushes")
            try expect(large >= 2000, "\(large) pushes in large batches")
        },
        Clause("the turns of the apps continue from one claim to the next") { harness in
            let now = try await harness.now
            for app in ["a", "b", "c"] {
                for _ in 0..<4 { try await harness.append(Samples.batch(500, at: now, app: AppID(app))) }
            }
            var order: [String] = []
            for _ in 0..<6 { order += try await harness.claim(1).map(\.batch.app.name) }
            try expect(Set(order.prefix(3)), is: ["a", "b", "c"], "each in the first round")
            try expect(Set(order.suffix(3)), is: ["a", "b", "c"], "each in the second round")
        },
        Clause("an excluded lane of an app is not claimed, the app's other lanes are") { harness in
            let now = try await harness.now
            let bulk = Samples.batch(at: now, lane: .bulk)
            let urgent = Samples.batch(at: now, lane: .urgent)
            try await harness.append(bulk, urgent)
            let request = ClaimRequest(
                batchesMax: 9, lease: .seconds(20), excludedLanes: [AppLane(AppEnvironment(Samples.app), lane: .bulk)]
            )
            try expect(try await harness.queue.claim(request).map(\.batch.id), is: [urgent.id], "the urgent one")
            try expect(try await harness.claimOne().batch.id, is: bulk.id, "no longer excluded")
        },
        Clause("batches of a paused app are not claimed until it is resumed, even after a crash") { harness in
            let now = try await harness.now
            let paused = Samples.batch(at: now, app: AppID("paused"))
            let other = Samples.batch(at: now, app: AppID("other"))
            try await harness.append(paused, other)
            try await harness.queue.setPaused(true, app: AppID("paused"), at: now)
            try await harness.queue.setPaused(true, app: AppID("paused"), at: now + .seconds(5))
            try expect(try await harness.deliverAll(), is: [other.id.push(0)], "only the other app's push")
            try await harness.crash()
            try expect(try await harness.queue.pausedApps(), is: [AppID("paused"): now], "paused apps")
            let direct = Samples.batch(at: now, app: AppID("paused"))
            let leases = try await harness.queue.append([NewBatch(batch: direct, claim: .seconds(20))])
            try expect(leases, is: [nil], "an append does not claim either")
            try expect(try await harness.claim().isEmpty, "still paused")
            try expect(try await harness.queue.depth().rows.map(\.batches), is: [2], "they wait")
            try await harness.queue.setPaused(false, app: AppID("paused"), at: now)
            try expect(try await harness.queue.pausedApps(), is: [:], "no paused apps")
            try expect(Set(try await harness.deliverAll()), is: [paused.id.push(0), direct.id.push(0)], "resumed")
        },
    ]
}
