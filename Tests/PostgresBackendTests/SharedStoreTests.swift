#if Postgres
import Foundation
import PostgresBackend
import PushModel
import PushStore
import PushTesting
import Testing

@Suite(.serialized) struct `A store on PostgreSQL that instances share` {
    private let request = ClaimRequest(batchesMax: 10, lease: .seconds(20))

    @Test func `heartbeats end the leases of an instance that is gone, and fold the depth`() async throws {
        let harness = try await PostgresHarness()
        let other = try await harness.openAnother()
        let batch = sampleBatch(3, at: harness.now)
        _ = try await harness.store.append([NewBatch(batch: batch, claim: .seconds(20))])
        try await harness.moveClock(by: .seconds(21))
        #expect(try await other.claim(request).isEmpty, "only a heartbeat ends it")
        try await waitUntil("the end of the lease") {
            other.heartbeat()
            return try await !other.claim(request).isEmpty
        }
        try await waitUntil("an empty log") {
            other.heartbeat()
            return try await harness.query("SELECT count(*) FROM depth_log") == "0"
        }
        #expect(try await other.depth().pushes == 3)
        #expect(other.clock.wall() >= harness.now, "its clock is the store's")
        #expect(other.clock.wall() < harness.now + .seconds(600))
        await harness.close()
    }

    @Test func `appends that wait are one write`() async throws {
        let harness = try await PostgresHarness()
        let store = harness.store
        let now = harness.now
        _ = try await store.append([NewBatch(batch: sampleBatch(at: now))])
        // The first two groups wait in the database, and all others for them.
        try await harness.execute(
            """
            CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_advisory_xact_lock_shared(hashtext(current_schema));
                RETURN NULL;
            END $$
            """)
        try await harness.execute(
            """
            CREATE TRIGGER wait_for_test AFTER INSERT ON batches FOR EACH STATEMENT EXECUTE FUNCTION wait_for_test()
            """)
        try await harness.execute("SELECT pg_advisory_lock(hashtext(current_schema))")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<199 {
                group.addTask { _ = try await store.append([NewBatch(batch: sampleBatch(at: now))]) }
            }
            try await waitUntil("two groups that wait") {
                try await harness.query(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = hashtext(current_schema)::oid"
                        + " AND NOT granted") == "2"
            }
            try await harness.execute("SELECT pg_advisory_unlock(hashtext(current_schema))")
            try await group.waitForAll()
        }
        #expect(try await harness.query("SELECT count(*) FROM batches") == "200")
        let writes = try #require(Int(try await harness.query("SELECT count(DISTINCT xmin::text) FROM batches")))
        #expect(writes < 100, "200 appends in \(writes) transactions")
        await harness.close()
    }

    @Test func `one append with an ID that is in use does not refuse those in its group`() async throws {
        let harness = try await PostgresHarness()
        let store = harness.store
        let now = harness.now
        let known = sampleBatch(at: now)
        _ = try await store.append([NewBatch(batch: known)])
        let results = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<60 {
                let batch = number.isMultiple(of: 20) ? known : sampleBatch(at: now)
                group.addTask { (try? await store.append([NewBatch(batch: batch)])) != nil }
            }
            return await group.reduce(into: [false: 0, true: 0]) { $0[$1, default: 0] += 1 }
        }
        #expect(results == [false: 3, true: 57])
        #expect(try await store.depth().pushes == 58)
        await harness.close()
    }

    @Test func `a claim supersedes what concurrent appends did not see`() async throws {
        let harness = try await PostgresHarness()
        let store = harness.store
        let older = sampleBatch(2, at: harness.now, collapseID: "score")
        _ = try await store.append([NewBatch(batch: older)])
        // Hidden from the next append, as a row of a transaction that is not committed yet.
        try await harness.execute("UPDATE batches SET owner = 0")
        let newer = sampleBatch(1, at: harness.now, collapseID: "score")
        _ = try await store.append([NewBatch(batch: newer)])
        try await harness.execute("UPDATE batches SET owner = NULL")
        let claims = try await store.claim(request)
        #expect(claims.map(\.batch.id) == [older.id, newer.id])
        #expect(claims.first?.pending?.map(\.index) == [1], "the other one was replaced")
        #expect(try await store.find([older.id.push(0)])[0]?.code == .superseded)
        await harness.close()
    }

    @Test func `very many updates of a batch are compacted by its claim`() async throws {
        let harness = try await PostgresHarness()
        let store = harness.store
        let batch = sampleBatch(2, at: harness.now)
        let lease = try #require(try await store.append([NewBatch(batch: batch, claim: .seconds(20))])[0])
        for number in 1...80 {
            let retry = Retry(index: 0, code: .apnsUnavailable, attempts: UInt16(number), due: harness.now)
            let release: Settlement.Release = number == 80 ? .release : .keep
            _ = try await store.settle([
                Settlement(lease: lease, retries: [retry], release: release, number: UInt64(number), at: harness.now)
            ])
        }
        #expect(try await harness.query("SELECT count(*) FROM progress") == "80")
        let first = try #require(try await store.claim(request).first)
        #expect(try await harness.query("SELECT count(*) FROM progress") == "1")
        _ = try await store.settle([Settlement(lease: first.lease, release: .release, at: harness.now)])
        let second = try #require(try await store.claim(request).first)
        #expect(first.pending?.map(\.attempts) == [80, 0])
        #expect(second.pending == first.pending)
        await harness.close()
    }

    @Test func `a closed instance gives its leases back and refuses calls`() async throws {
        let harness = try await PostgresHarness()
        let other = try await harness.openAnother()
        _ = try await harness.store.append([NewBatch(batch: sampleBatch(at: harness.now), claim: .seconds(20))])
        await harness.store.close()
        #expect(try await other.claim(request).count == 1)
        await #expect(throws: QueueError.closed) { _ = try await harness.store.depth() }
        await harness.close()
    }
}
#endif
