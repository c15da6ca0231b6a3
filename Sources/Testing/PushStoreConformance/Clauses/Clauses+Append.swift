import APNSWire
import PushModel
import PushStore

extension QueueConformance {
    static let append: [Clause] = [
        Clause("an appended batch is claimable after a crash") { harness in
            let batch = Samples.batch(3, at: try await harness.now)
            try await harness.append(batch)
            try await harness.crash()
            let claimed = try await harness.claimOne()
            try expect(claimed.batch == batch, "the batch is as it was appended")
        },
        Clause("a batch that its append claimed is claimable after a crash") { harness in
            let batch = Samples.batch(3, at: try await harness.now)
            let lease = try await harness.appendClaimed(batch)
            try await harness.crash()
            let claimed = try await harness.claimOne()
            try expect(claimed.batch == batch, "the batch is as it was appended")
            try expect(claimed.lease.epoch > lease.epoch, "the new lease has a higher epoch")
        },
        Clause("an append of several batches is all or nothing") { harness in
            let now = try await harness.now
            let known = Samples.batch(at: now)
            try await harness.append(known)
            // The id is in use, so neither batch of this append can be stored.
            let fresh = Samples.batch(2, at: now)
            do {
                _ = try await harness.queue.append([NewBatch(batch: fresh), NewBatch(batch: known)])
                throw BrokenClause(description: "a batch id that is in use was accepted")
            } catch is QueueError {}
            let claimed = try await harness.claim()
            try expect(claimed.map(\.batch.id), is: [known.id], "only the first batch is in the queue")
            try expect(try await harness.queue.find([fresh.id.push(0)]) == [nil], "the neighbour is unknown")
        },
        Clause("a batch of 1,000 pushes with the largest payloads is claimed bit for bit") { harness in
            let batch = Samples.batch(1000, at: try await harness.now, payloadBytes: 5120)
            try await harness.append(batch)
            try await harness.crash()
            let claimed = try await harness.claimOne()
            try expect(claimed.batch == batch, "the batch is as it was appended")
            try expect(claimed.pending == nil, "all of it is pending")
        },
        Clause("a claim returns every field of a batch") { harness in
            let now = try await harness.now
            let id = BatchID.random(at: now)
            var pushes = NotificationBatch(firstID: id.value)
            let variants = PushType.allCases.map { type in
                NotificationHeaders(
                    topic: "org.example\(type.topicSuffix)", pushType: type, priority: .conserving,
                    collapseID: type == .alert ? "größe" : nil
                )
            }
            for (index, headers) in variants.enumerated() {
                [UInt8](repeating: 7, count: index + 1).withUnsafeBytes { token in
                    Array("{\"a\":\(index / 2)}".utf8).withUnsafeBytes { payload in
                        pushes.append(
                            token: token, payload: payload, headers: headers,
                            expiration: index.isMultiple(of: 2) ? Int64(index) : NotificationBatch.noExpiration
                        )
                    }
                }
            }
            let batch = Batch(
                id: id, app: AppID("größe"), environment: .sandbox, lane: .bulk, acceptedAt: now,
                dueTimes: PushColumn(pushes.entries.indices.map { $0 == 1 ? now + .milliseconds(1) : nil }),
                notifications: pushes, clients: PushColumn(pushes.entries.indices.map { "client \($0 / 2)" }),
                traceparents: PushColumn(shared: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                requestIDs: PushColumn(pushes.entries.indices.map { $0 == 0 ? nil : "request" }), ambiguity: .drop
            )
            try await harness.append(batch)
            try expect(try await harness.claimOne().batch == batch, "the batch is as it was appended")
        },
        Clause("empty calls do nothing") { harness in
            try expect(try await harness.queue.append([]).isEmpty, "an append of nothing")
            try expect(try await harness.queue.settle([]).isEmpty, "a settle of nothing")
            try expect(try await harness.queue.renew([], for: .seconds(1)).isEmpty, "a renew of nothing")
            try expect(try await harness.queue.find([]).isEmpty, "a lookup of nothing")
            try expect(try await harness.claim().isEmpty, "a claim from an empty queue")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the depth of an empty queue")
        },
    ]
}
