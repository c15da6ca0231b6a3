#if Postgres
import Foundation
import PostgresBackend
import PushModel
import PushStore
import PushTesting
import Testing

/// Sessions that end in a commit, each on a server of its own.
@Suite(.serialized) struct `Lost responses of PostgreSQL` {
    private func open() async throws -> (PostgresServer, PostgresHarness) {
        let server = try await PostgresServer.start(settings: ["fsync=off"])
        let harness = try await PostgresHarness(server: server)
        // Prepares what an append needs before the fault.
        _ = try await harness.store.append([NewBatch(batch: sampleBatch(at: harness.now))])
        return (server, harness)
    }

    /// Runs `body`, whose commit waits for a standby that does not exist: it is done, and not acknowledged. Then ends its
    /// session.
    private func losingResponse<Value: Sendable>(
        _ server: PostgresServer, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Result<Value, any Error> {
        try await server.query("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
        try await server.query("SELECT pg_reload_conf()")
        try await waitUntil("the new setting") { try await server.query("SHOW synchronous_standby_names") == "absent" }
        async let result: Result<Value, any Error> = {
            do { return .success(try await body()) } catch { return .failure(error) }
        }()
        try await waitUntil("a commit that waits") {
            try await server.query(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"
        }
        let value = await result
        try await server.query("ALTER SYSTEM RESET synchronous_standby_names")
        try await server.query("SELECT pg_reload_conf()")
        try await waitUntil("the old setting") { try await server.query("SHOW synchronous_standby_names") == "" }
        return value
    }

    @Test func `an append that was committed without a response is found, and not repeated`() async throws {
        let (server, harness) = try await open()
        let store = harness.store
        let batch = sampleBatch(2, at: harness.now)
        let leases = try await losingResponse(server) {
            try await store.append([NewBatch(batch: batch, claim: .seconds(20))])
        }.get()
        #expect(leases == [Lease(batch: batch.id, epoch: 1)])
        #expect(try await store.depth().pushes == 3, "its pushes are counted once")
        let settlement = Settlement(
            lease: Lease(batch: batch.id, epoch: 1), outcomes: delivered(0..<2), number: 1, at: harness.now)
        #expect(try await store.settle([settlement]) == [], "the lease is its own")
        await harness.close()
        try await server.stop()
    }

    @Test func `an append that was rolled back without a response is repeated`() async throws {
        let (server, harness) = try await open()
        try await harness.execute("CREATE SEQUENCE kills")
        try await harness.execute(
            """
            CREATE FUNCTION kill_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('kills') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
                RETURN NULL;
            END $$
            """)
        try await harness.execute(
            """
            CREATE CONSTRAINT TRIGGER kill_once AFTER INSERT ON batches DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION kill_once()
            """)
        let batch = sampleBatch(2, at: harness.now)
        let leases = try await harness.store.append([NewBatch(batch: batch)])
        #expect(leases == [nil])
        #expect(try await harness.query("SELECT last_value FROM kills") == "2", "the second attempt was committed")
        #expect(try await harness.store.depth().pushes == 3)
        await harness.close()
        try await server.stop()
    }

    @Test func `a settlement that was committed without a response counts once when it is repeated`() async throws {
        let (server, harness) = try await open()
        let store = harness.store
        let batch = sampleBatch(2, at: harness.now)
        let lease = try #require(try await store.append([NewBatch(batch: batch, claim: .seconds(20))])[0])
        let settlement = Settlement(lease: lease, outcomes: delivered(0..<2), number: 1, at: harness.now)
        let result = try await losingResponse(server) { try await store.settle([settlement]) }
        guard case .failure(QueueError.unavailable(_, isOutcomeKnown: false)) = result else {
            Issue.record("the first settlement: \(result)")
            return
        }
        #expect(store.settled() == OutcomeCounts(), "it is not known yet")
        #expect(try await store.settle([settlement]) == [])
        #expect(store.settled().counts.values.reduce(0, +) == 2)
        #expect(try await store.settle([settlement]) == [])
        #expect(store.settled().counts.values.reduce(0, +) == 2)
        #expect(try await store.depth().pushes == 1)
        await harness.close()
        try await server.stop()
    }
}
#endif
