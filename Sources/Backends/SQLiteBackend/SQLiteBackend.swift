import Foundation
import GRDB
package import Logging
package import PushModel
package import PushStore
import Synchronization

/// The queue and the outcomes in one SQLite file: the default backend.
///
/// What it promises rests on WAL with `synchronous=FULL`, on one connection that alone writes and checkpoints, and on
/// one process per folder (`flock`). Calls that come together share a commit. After an I/O error other than a full
/// disk every write is refused as `broken`: a failed sync is never tried again, the process has to start anew.
package final class SQLiteBackend: DurableQueue, OutcomeStore, Sendable {
    /// As read back from SQLite after it was set.
    package let durability: SQLiteDurability
    let connections: Connections
    let commits: GroupCommit
    let clock: QueueClock
    let logger: Logger
    let lock: FolderLock
    let reserve: DiskReserve
    let lastHeartbeat = Mutex<Duration?>(nil)
    let outcomes: SettledCounts.Committed
    private let fence: Fence
    private let configuration: SQLiteConfiguration

    /// Opens the database in `folder`, creating both if need be.
    ///
    /// Leases that another process held are returned, however it ended.
    ///
    /// - Parameter takeoverAfter: a process that has the database and gave no `beat` for so long is taken over: it hangs
    ///   or is stopped, and whatever it writes from now on is refused. nil: a database in use is never opened.
    /// - Throws: the reason in one sentence; nothing is left open or locked then.
    package static func open(
        folder: String, configuration: SQLiteConfiguration = SQLiteConfiguration(), takeoverAfter: Duration? = nil,
        clock: QueueClock = .system, logger: Logger = Logger(label: "godwit.sqlite")
    ) throws(SQLiteOpenError) -> SQLiteBackend {
        try DatabaseFolder.prepare(folder)
        let lock = try FolderLock(
            folder: folder,
            takeover: takeoverAfter.map {
                FolderLock.TakeoverPolicy(silence: $0, watch: configuration.takeoverObservation, now: clock.wall())
            }
        )
        let path = folder + "/" + fileName
        let reserve = DiskReserve(folder: folder)
        if reserve.release() {
            logger.error("the disk is full; the database is opened in the room that was set aside for that")
        }
        do throws(SQLiteOpenError) {
            return try open(path, lock, reserve, configuration, clock, logger)
        } catch {
            guard reserve.isDiskFull, let reason = error.reasonOnFullDisk else { throw error }
            throw .noSpace(path, bytesFree: Disk.bytesFree(folder) ?? 0, reason: reason)
        }
    }

    private static func open(
        _ path: String, _ lock: FolderLock, _ reserve: DiskReserve, _ configuration: SQLiteConfiguration,
        _ clock: QueueClock, _ logger: Logger
    ) throws(SQLiteOpenError) -> SQLiteBackend {
        do {
            try Replacement.finish(path)
        } catch {
            throw .failed(path, reason: "\(error)")
        }
        if lock.isTakenOver {
            logger.warning("the process that had the database gives no sign of life and is taken over")
            try Takeover.prepare(path, suffix: ".left-\(clock.wall().milliseconds)", configuration)
        }
        let connections = try Connections.open(path: path, configuration: configuration, now: clock.wall())
        do {
            let state = try connections.writer.inDatabase(QueueState.recover)
            reserve.renew()
            return SQLiteBackend(connections, state, lock, reserve, clock, configuration, logger)
        } catch {
            throw .failed(path, reason: (error as? DatabaseError)?.brief ?? "\(error)")
        }
    }

    /// Name of the database in its folder.
    package static let fileName = "godwit.sqlite"

    private init(
        _ connections: Connections, _ state: QueueState, _ lock: FolderLock, _ reserve: DiskReserve,
        _ clock: QueueClock,
        _ configuration: SQLiteConfiguration, _ logger: Logger
    ) {
        self.connections = connections
        self.lock = lock
        self.reserve = reserve
        self.clock = clock
        self.configuration = configuration
        self.logger = logger
        durability = connections.durability
        outcomes = state.outcomes.committed
        fence = Fence(lock, path: connections.writer.path)
        commits = GroupCommit(
            writer: connections.writer, state: state, fence: fence, configuration: configuration
        )
    }

    package var statistics: SQLiteStatistics { commits.statistics }

    // MARK: DurableQueue

    package func append(_ batches: [NewBatch]) async throws(QueueError) -> [Lease?] {
        guard !batches.isEmpty else { return [] }
        let encoded = batches.map(EncodedBatch.init)
        let clock = clock
        return try await commits.perform(bytes: encoded.reduce(0) { $0 + $1.body.count }, yields: true) { db, state in
            try Append.run(encoded, db, &state, clock: clock)
        }
    }

    package func claim(_ request: ClaimRequest) async throws(QueueError) -> [ClaimedBatch] {
        guard request.batchesMax > 0 else { return [] }
        let (clock, bytesMax) = (clock, configuration.claimBytesMax)
        let result = try await commits.perform { db, state in
            let claim = Claim(
                db: db, request: request, bytesMax: bytesMax, wall: clock.wall(), monotonic: clock.monotonic()
            )
            return try claim.run(&state)
        }
        if result.isSetBackFound {
            logger.warning("the clock was set back; what waits for no other reason is due now")
        }
        for id in result.poison {
            logger.error(
                "a push was under way each time its holder died; it is given up as poison",
                metadata: ["push.id": "\(id)"]
            )
        }
        var readable: [ClaimedBatch] = []
        readable.reserveCapacity(result.claims.count)
        var unreadable: [EncodedClaim] = []
        for claim in result.claims {
            if let batch = claim.read() { readable.append(batch) } else { unreadable.append(claim) }
        }
        if !unreadable.isEmpty { try await end(unreadable) }
        return readable
    }

    /// Batches that cannot be read can never be sent: their pushes are given up, so that they do not come back for
    /// ever, and their bytes are kept.
    private func end(_ unreadable: [EncodedClaim]) async throws(QueueError) {
        for claim in unreadable {
            logger.error(
                "a stored batch cannot be read; what is left of it is given up, and its bytes are kept as dead letters",
                metadata: ["batch.id": "\(claim.lease.batch)", "pushes": "\(claim.unreadable.count)"]
            )
        }
        let now = clock.wall()
        _ = try await settle(unreadable.map { Settlement(lease: $0.lease, outcomes: $0.unreadable, at: now) })
    }

    package func renew(_ leases: [Lease], for duration: Duration) async throws(QueueError) -> [Lease] {
        guard !leases.isEmpty else { return [] }
        let clock = clock
        return try await commits.perform { _, state in
            Renew.run(leases, for: duration, &state, clock: clock)
        }
    }

    package func settle(_ settlements: [Settlement]) async throws(QueueError) -> [Lease] {
        guard !settlements.isEmpty else { return [] }
        return try await commits.perform { db, state in
            try Settle.run(settlements, db, &state)
        }
    }

    package func depth() async throws(QueueError) -> QueueDepth {
        // From the writer, what it knows without looking; the looks disturb nobody on the reading connection.
        let (counts, paused) = try await commits.perform { _, state in (state.counts.current, state.paused.current) }
        let now = clock.wall()
        return try await look { db in
            try Depth.read(db, counts: counts, paused: paused.keys, now: now)
        }
    }

    // MARK: OutcomeStore

    package func find(_ ids: [PushID]) async throws(StoreError) -> [PushStatus?] {
        guard !ids.isEmpty else { return [] }
        let clock = clock
        do {
            return try await connections.reader.read { db in
                try Find(db: db, now: clock.wall()).run(ids)
            }
        } catch {
            throw .unavailable((error as? DatabaseError)?.brief ?? "\(error)")
        }
    }

    // MARK: Life

    /// Serves the calls that wait, returns all leases, brings the log into the database and closes it.
    ///
    /// Later calls get `closed`. Closing twice is harmless.
    package func close() async {
        let release: GroupCommit.Body<Void> = { db, state in
            try db.execute(sql: "UPDATE batches SET leased = 0 WHERE leased <> 0")
            for batch in Array(state.held.current.keys) { state.held[batch] = nil }
        }
        // A store that is broken, full or lost keeps its leases; opening it again returns them as well.
        try? await commits.close(after: release)
        try? connections.reader.close()
        try? connections.writer.close()
        lock.unlock()
    }
}
