#if Postgres
import Foundation
import Logging
import PostgresLink
import PushModel
package import PushStore
import Synchronization

/// One gateway instance's view of a store on PostgreSQL, which any number of instances share.
///
/// Leases, epochs and counts are rows, so an instance that dies leaves nothing behind that another one cannot take over.
/// In memory are the batches that this instance has claimed, and whose turn it is at its claims.
package final class PostgresBackend: Sendable {
    let connections: StoreConnections
    /// Names this instance as the holder of its leases.
    let owner: Int32
    let key: TokenHashKey
    let policy: DeliveryPolicy
    let aliveFor: Duration
    let appLanes: AppLanes
    let held = HeldBatches()
    let storeClock: StoreClock
    let machineClock: QueueClock
    let appends: WriteGroups<AppendItem>
    let settlements: WriteGroups<SettleItem>
    let begunNotes: WriteGroups<[Lease]>
    let turns = Mutex(Turns())
    let responses = Mutex(IdempotencyUsage())
    let heartbeats = Mutex(Heartbeats())
    private let tally: SettledTally
    private let isClosed = Atomic(false)

    /// Whose turn it is.
    struct Turns: Sendable {
        /// Pushes that an app may take in a turn: half of a full batch, so that a full batch waits for its second turn and
        /// single pushes of other apps are claimed in between.
        static let quantum = 500

        /// By lane.
        var apps = Lane.allCases.map { _ in DeficitRoundRobin<AppEnvironment>(quantum: Self.quantum) }
        /// The app whose quarantined batches were claimed last.
        var lastQuarantined: AppEnvironment?
    }

    struct Heartbeats: Sendable {
        var isRunning = false
        /// Without a failure in between.
        var successes = 0
        var count = 0
    }

    /// Connects, makes missing tables if the configuration says so, and registers the instance.
    ///
    /// - Parameter clock: the machine's.
    /// - Throws: `unavailable` if the database cannot be reached, or must not be used by this version.
    package static func open(
        _ configuration: PostgresStoreConfiguration, clock: QueueClock = .system
    ) async throws(QueueError) -> PostgresBackend {
        let connections = try mappingErrors { () throws(PostgresError) in try StoreConnections(configuration) }
        do {
            return try await open(configuration, connections, clock)
        } catch {
            await connections.close(within: .zero)
            throw error
        }
    }

    private static func open(
        _ configuration: PostgresStoreConfiguration, _ connections: StoreConnections, _ clock: QueueClock
    ) async throws(QueueError) -> PostgresBackend {
        let control = connections.control
        let migrator = PostgresMigrator(control, schema: configuration.schema)
        do throws(PostgresError) {
            if configuration.migrates { try await migrator.migrate() }
            let state = try await migrator.state()
            guard state.isUsable else { throw PostgresError(.invalid, state.description) }
        } catch {
            throw error.queueError
        }
        let fresh = TokenHashKey.random()
        let results = try await control.execute([
            PostgresCall("instance_register", registerSQL) { parameters in
                parameters.append(configuration.instanceName)
                parameters.append(configuration.version)
                parameters.append(configuration.aliveFor.milliseconds)
            },
            PostgresCall("token_hash_key_make", makeKeySQL) { $0.append([UInt8](fresh.bytes)) },
            PostgresCall("token_hash_key", "SELECT value FROM settings WHERE name = 'token_hash_key'"),
            ResponseRows.usage,
        ])
        return try mappingErrors { () throws(PostgresError) in
            let bytes = Data(try results[2].value(0, 0, as: [UInt8].self))
            guard let key = TokenHashKey(bytes: bytes) else {
                throw PostgresError(.invalid, "the key of token hashes is damaged")
            }
            return PostgresBackend(
                configuration, connections, owner: try results[0].value(0, 0), key: key,
                StoreClock(clock, wall: try results[0].time(0, 1)), clock, try ResponseRows.usage(results[3]))
        }
    }

    private static let registerSQL = """
        INSERT INTO instances (name, version, alive_until)
        VALUES ($1, $2, clock_timestamp() + $3 * interval '1 ms') RETURNING id, store_ms()
        """
    private static let makeKeySQL = """
        INSERT INTO settings (name, value) VALUES ('token_hash_key', $1) ON CONFLICT (name) DO NOTHING
        """

    private init(
        _ configuration: PostgresStoreConfiguration, _ connections: StoreConnections, owner: Int32, key: TokenHashKey,
        _ storeClock: StoreClock, _ machineClock: QueueClock, _ usage: IdempotencyUsage
    ) {
        self.connections = connections
        self.owner = owner
        self.key = key
        policy = configuration.policy
        aliveFor = configuration.aliveFor
        appLanes = AppLanes(connections.control)
        self.storeClock = storeClock
        self.machineClock = machineClock
        let tally = SettledTally()
        self.tally = tally
        appends = WriteGroups(
            lanes: 2, countMax: 64, weightMax: 4 << 20, weight: { $0.append.bytes },
            run: { lane, items in
                await Appending(connection: connections.append[lane], owner: owner).run(items)
            })
        let settling = Settling(connection: connections.settle, key: key, held: held, tally: tally)
        settlements = WriteGroups(lanes: 1, countMax: 256, run: { _, items in await settling.run(items) })
        begunNotes = WriteGroups(
            lanes: 1, countMax: 1000,
            run: { _, notes in
                // A lost note costs one more attempt before the batch is quarantined.
                _ = try? await connections.lease.execute(Leases.begun(notes.flatMap { $0 }, owner: owner))
            })
        responses.withLock { $0 = usage }
    }

    /// The number of this instance in `instances`. It is never used again.
    package var instance: Int { Int(owner) }

    func checkOpen() throws(QueueError) {
        if isClosed.load(ordering: .acquiring) { throw .closed }
    }

    // MARK: - Counts

    func count(_ writes: [BatchWrite]) { tally.count(writes) }

    package func settled() -> OutcomeCounts { tally.counts }

    // MARK: - End

    package func close() async {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        await drain()
        // Without it the leases run out.
        _ = try? await connections.lease.execute([
            Leases.giveBack(owner: owner),
            PostgresCall("instance_end", "UPDATE instances SET alive_until = clock_timestamp() WHERE id = $1") {
                $0.append(owner)
            },
        ])
        await connections.close(within: .seconds(5))
    }

    /// Ends the instance as `kill -9` does, with its leases left to run out. For tests.
    package func crash() async {
        isClosed.store(true, ordering: .releasing)
        await drain()
        await connections.close(within: .zero)
    }

    private func drain() async {
        await appends.drain()
        await settlements.drain()
        await begunNotes.drain()
    }
}

/// Counts settled pushes when the write that settled them is committed.
final class SettledTally: Sendable {
    private let current = Mutex(OutcomeCounts())

    var counts: OutcomeCounts { current.withLock { $0 } }

    func count(_ writes: [BatchWrite]) {
        current.withLock { counts in
            for write in writes {
                OutcomeCounts.runs(of: write.update.outcomes, app: write.app) { counts.add($1, to: $0) }
            }
        }
    }
}
#endif
