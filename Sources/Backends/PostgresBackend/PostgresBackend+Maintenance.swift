#if Postgres
import PostgresLink
import PushConcurrency
package import PushModel
package import PushStore
import Synchronization

extension PostgresBackend: GatewayStore {
    /// Wall times are the database's, so that all instances have one clock.
    package var clock: QueueClock { storeClock.queueClock }

    /// Heartbeats without a failure before this instance ends the leases of others: after an outage of the database all
    /// leases have run out, and their holders get this long to renew them.
    private static let heartbeatsBeforeTakeover = 3
    /// Heartbeats from one count of the stored responses to the next. In between this instance knows of its own.
    private static let heartbeatsPerUsage = 60

    package func heartbeat() {
        let starts = heartbeats.withLock { heartbeats in
            guard !heartbeats.isRunning else { return false }
            heartbeats.isRunning = true
            return true
        }
        guard starts else { return }
        inBackground {
            let isAlive = (try? await self.sendHeartbeat()) != nil
            self.heartbeats.withLock { heartbeats in
                heartbeats.isRunning = false
                heartbeats.successes = isAlive ? heartbeats.successes + 1 : 0
                heartbeats.count += 1
            }
        }
    }

    private func sendHeartbeat() async throws(QueueError) {
        try checkOpen()
        let rows = try await connections.lease.execute(
            PostgresCall("heartbeat", Self.heartbeatSQL) { parameters in
                parameters.append(owner)
                parameters.append(aliveFor.milliseconds)
            })
        let (now, serverAge) = try mappingErrors { () throws(PostgresError) -> (WallTime, Int64) in
            guard rows.count == 1 else { throw PostgresError(.invalid, "the instance is not registered") }
            return (try rows.time(0, 0), try rows.value(0, 1))
        }
        storeClock.set(now)
        let state = heartbeats.withLock { $0 }
        // A server that has just started: all leases ran out while it was away.
        if state.successes >= Self.heartbeatsBeforeTakeover, serverAge > aliveFor.milliseconds {
            try await endExpiredLeases()
        }
        _ = try await connections.control.execute(DepthRows.fold)
        if state.count % Self.heartbeatsPerUsage == Self.heartbeatsPerUsage - 1 {
            let usage = try await connections.control.execute(ResponseRows.usage)
            let counted = try mappingErrors { () throws(PostgresError) in try ResponseRows.usage(usage) }
            responses.withLock { $0 = counted }
        }
    }

    private static let heartbeatSQL = """
        UPDATE instances i SET alive_until = clock_timestamp() + $2 * interval '1 ms' WHERE i.id = $1
        RETURNING store_ms(), floor(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000)::bigint
        """

    /// Makes batches claimable whose lease has run out.
    package func endExpiredLeases() async throws(QueueError) {
        _ = try await connections.lease.execute(Leases.endExpired)
    }

    // MARK: - Retention

    package func prune(
        endedBefore cutoff: WallTime, batchesMax: Int, now: WallTime
    ) async throws(QueueError) -> Bool {
        try checkOpen()
        let (mayContinue, pruned) = try await PruneStep.run(
            endedBefore: cutoff, batchesMax: batchesMax, now: now, connections.control)
        responses.withLock { usage in
            usage.records -= pruned.records
            usage.bytes -= pruned.bytes
        }
        return mayContinue
    }

    /// Nothing to do: the content of ended pushes is deleted with their batch, and autovacuum reuses the space.
    package func reclaim() async throws(QueueError) -> Bool {
        try checkOpen()
        return false
    }

    package func expire(batchesMax: Int) async throws(QueueError) -> Bool {
        try checkOpen()
        let result = try await ExpiryStep(connection: connections.control, key: key, policy: policy)
            .run(batchesMax: batchesMax)
        count(result.writes)
        return result.mayContinue
    }

    /// The free space of the server's disk is not known here.
    package func usage() async -> StoreUsage? { nil }
}
#endif
