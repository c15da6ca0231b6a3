import Foundation
import GRDB
package import Logging
package import PushModel
package import PushStore
import Synchronization

/// The default store: queue and outcomes in one SQLite file.
///
/// Durability rests on WAL with `synchronous=FULL`, on a single connection that writes and checkpoints, and on one
/// process per folder (`flock`). Concurrent calls share a commit (`GroupCommit`). After an I/O error other than a full
/// disk, every write is refused as `broken`: a failed sync is never retried, the process has to restart.
package final class SQLiteBackend: CompletionQueue, OutcomeStore, Sendable {
    /// The settings as read back from SQLite.
    package let durability: SQLiteDurability
    let connections: Connections
    let commits: GroupCommit
    package let clock: QueueClock
    let logger: Logger
    let lock: FolderLock
    let reserve: DiskReserve
    let marks: StoreMarks
    let reclaimPlan = Mutex(ReclaimPlan())
    let lastHeartbeat = Mutex<Duration?>(nil)
    let outcomes: SettledCounts.Committed
    let tokenHashKey: TokenHashKey
    let responses: StoredResponseCounts.Committed
    let configuration: SQLiteConfiguration

    /// Opens the database in `folder` and creates both if necessary. Ends the leases of the previous process.
    ///
    /// - Parameters:
    ///   - takeoverAfter: takes the database over from a process whose heartbeat is at least this old. All later writes
    ///     of that process are refused. nil: never opens a database in use.
    ///   - acceptsLoss: opens the database although acknowledged writes are missing.
    /// - Throws: the reason. No file stays open or locked then.
    package static func open(
        folder: String, configuration: SQLiteConfiguration = SQLiteConfiguration(), takeoverAfter: Duration? = nil,
        acceptsLoss: Bool = false, clock: QueueClock = .system, logger: Logger = Logger(label: "godwit.sqlite")
    ) throws(SQLiteOpenError) -> SQLiteBackend {
        try DatabaseFolder.prepare(folder)
        let lock = try FolderLock(
            folder: folder,
            takeover: takeoverAfter.map {
                FolderLock.TakeoverPolicy(
                    staleAfter: $0, observation: configuration.takeoverObservation, now: clock.wall()
                )
            }
        )
        let path = folder + "/" + fileName
        let reserve = DiskReserve(folder: folder)
        if reserve.release() {
            logger.error("disk full: released the 4 MiB reserve to open the database")
        }
        do throws(SQLiteOpenError) {
            return try open(path, lock, reserve, acceptsLoss: acceptsLoss, configuration, clock, logger)
        } catch {
            guard reserve.isDiskFull, let reason = error.reasonOnFullDisk else { throw error }
            throw .diskFull(path, bytesFree: Disk.bytesFree(folder) ?? 0, reason: reason)
        }
    }

    private static func open(
        _ path: String, _ lock: FolderLock, _ reserve: DiskReserve, acceptsLoss: Bool,
        _ configuration: SQLiteConfiguration, _ clock: QueueClock, _ logger: Logger
    ) throws(SQLiteOpenError) -> SQLiteBackend {
        do {
            try Replacement.finish(path)
        } catch {
            throw .failed(path, reason: "\(error)")
        }
        let left = StoreMarks.left(of: path)
        try checkLog(path, left, acceptsLoss: acceptsLoss, clock, logger)
        if lock.isTakenOver {
            logger.warning("taking over the database: previous owner's heartbeat is stale")
            do {
                try StoreMarks.remove(of: path)
            } catch {
                throw .failed(path, reason: "\(error)")
            }
            try Takeover.prepare(path, suffix: ".left-\(clock.wall().milliseconds)", configuration)
        }
        let connections = try Connections.open(path: path, configuration: configuration)
        do {
            let state = try connections.writer.inDatabase { try QueueState.recover($0, after: left ?? LeftMarks()) }
            reserve.renew()
            let marks = StoreMarks(path: path, pageBytes: connections.pageBytes)
            try connections.writer.inDatabase { db in
                marks.observeCommits(of: db)
                // Writes everything that recovery has read to the disk again: it may come from the page cache only, if a
                // sync of the previous process failed.
                try Checkpointer(path: path, marks: marks, configuration: configuration).start(db)
            }
            return SQLiteBackend(connections, state, lock, reserve, marks, clock, configuration, logger)
        } catch {
            throw .failed(path, reason: (error as? DatabaseError)?.brief ?? "\(error)")
        }
    }

    /// Looks for acknowledged writes that SQLite would drop without an error.
    ///
    /// - Throws: unless none is missing, or the caller accepts that and the rest is sound.
    private static func checkLog(
        _ path: String, _ left: LeftMarks?, acceptsLoss: Bool, _ clock: QueueClock, _ logger: Logger
    ) throws(SQLiteOpenError) {
        do {
            let log = path + "-wal"
            var inspection = try LogInspection.inspect(log, acknowledged: left?.position)
            // SQLite would create a new database, and delete the log.
            if left != nil, Disk.size(path) == 0 { inspection = .loss("the database file is missing or empty") }
            switch inspection {
            case .sound: break
            case .incomplete(let byte):
                logger.warning(
                    "write-ahead log ends with an incomplete write, as after a power cut",
                    metadata: ["log.byte": .stringConvertible(byte)]
                )
            case .loss(let finding):
                guard acceptsLoss else { throw SQLiteOpenError.writesMissing(path, finding: finding) }
                // Part of the log may be in the database already, and then an older part of it does not fit.
                if Disk.size(path) > 0 { try DatabaseCopy.check(path) }
                let copy = log + ".damaged-\(clock.wall().milliseconds)"
                if Disk.size(log) > 0 { try FileManager.default.copyItem(atPath: log, toPath: copy) }
                try StoreMarks.remove(of: path)
                logger.error(
                    "acknowledged writes are missing: starting without them, a copy of the log is kept",
                    metadata: ["error": "\(finding)", "path": "\(copy)"]
                )
            }
        } catch let error as SQLiteOpenError {
            throw error
        } catch {
            throw .failed(path, reason: (error as? DatabaseError)?.brief ?? "\(error)")
        }
    }

    /// Name of the database in its folder.
    package static let fileName = "godwit.sqlite"

    private init(
        _ connections: Connections, _ state: QueueState, _ lock: FolderLock, _ reserve: DiskReserve,
        _ marks: StoreMarks, _ clock: QueueClock, _ configuration: SQLiteConfiguration, _ logger: Logger
    ) {
        self.connections = connections
        self.lock = lock
        self.reserve = reserve
        self.marks = marks
        self.clock = clock
        self.configuration = configuration
        self.logger = logger
        durability = connections.durability
        outcomes = state.outcomes.committed
        tokenHashKey = state.tokenHashKey
        responses = state.responses.committed
        commits = GroupCommit(
            writer: connections.writer, state: state, fence: Fence(lock, path: connections.writer.path),
            marks: marks, configuration: configuration
        )
    }

    package var statistics: SQLiteStatistics { commits.statistics }

    func encoded(_ batches: [NewBatch]) -> Append {
        Append(batches, tokenHashKey: tokenHashKey, policy: configuration.policy)
    }

    // MARK: DurableQueue

    package func append(_ batches: [NewBatch]) async throws(QueueError) -> [Lease?] {
        guard !batches.isEmpty else { return [] }
        let (append, clock) = (encoded(batches), clock)
        return try await commits.perform(bytes: append.byteCount, yields: true) { db, state in
            try append.run(db, &state, clock: clock)
        }
    }

    package func append(
        _ batches: [NewBatch], completion: @escaping @Sendable (Result<[Lease?], QueueError>) -> Void
    ) {
        guard !batches.isEmpty else { return completion(.success([])) }
        let (append, clock) = (encoded(batches), clock)
        commits.perform(
            bytes: append.byteCount, yields: true, { db, state in try append.run(db, &state, clock: clock) },
            completion: completion
        )
    }

    package func claim(_ request: ClaimRequest) async throws(QueueError) -> [ClaimedBatch] {
        guard request.batchesMax > 0 else { return [] }
        let (clock, bytesMax, marks) = (clock, configuration.claimBytesMax, marks)
        // Not when the write begins: if the process was stopped in between, its holder could not renew its leases.
        let requestedAt = clock.monotonic()
        let result = try await commits.perform { db, state in
            let claim = Claim(
                db: db, request: request, bytesMax: bytesMax, wall: clock.wall(), monotonic: clock.monotonic(),
                requestedAt: requestedAt, marks: marks
            )
            return try claim.run(&state)
        }
        if result.rescheduled > 0 {
            logger.warning(
                "clock moved backwards: rescheduled affected batches to now",
                metadata: ["batches": .stringConvertible(result.rescheduled)]
            )
        }
        for id in result.poison {
            logger.error(
                "push given up as poison: the process crashed each time it worked on it",
                metadata: ["push.id": "\(id)"]
            )
        }
        var readable: [ClaimedBatch] = []
        readable.reserveCapacity(result.claims.count)
        var unreadable: [(claim: EncodedClaim, error: CodecError)] = []
        for claim in result.claims {
            do throws(CodecError) {
                readable.append(try claim.decode(tokenHashKey: tokenHashKey))
            } catch {
                unreadable.append((claim, error))
            }
        }
        if !unreadable.isEmpty { try await giveUp(unreadable) }
        return readable
    }

    /// Gives up the pushes of batches that cannot be read and therefore never be sent. Their bytes are kept.
    private func giveUp(_ unreadable: [(claim: EncodedClaim, error: CodecError)]) async throws(QueueError) {
        let now = clock.wall()
        let settlements = unreadable.map { claim, error in
            let outcomes = claim.givenUp(error)
            logger.error(
                "stored batch cannot be read: its unsettled pushes are given up, its bytes are kept as dead letters",
                metadata: [
                    "batch.id": "\(claim.lease.batch)", "pushes": .stringConvertible(outcomes.count),
                    "problem": "\(error.problem)",
                ]
            )
            return Settlement(lease: claim.lease, outcomes: outcomes, at: now)
        }
        _ = try await settle(settlements)
    }

    package func begun(_ leases: [Lease]) { marks.begin(leases) }

    package func renew(_ leases: [Lease], for duration: Duration) async throws(QueueError) -> [Lease] {
        guard !leases.isEmpty else { return [] }
        let clock = clock
        return try await commits.perform { _, state in
            Renew.run(leases, for: duration, &state, clock: clock)
        }
    }

    package func settle(_ settlements: [Settlement]) async throws(QueueError) -> [Lease] {
        guard !settlements.isEmpty else { return [] }
        let stale = try await commits.perform { db, state in
            try Settle.run(settlements, db, &state)
        }
        marks.end(settlements.lazy.filter(\.release.endsLease).map(\.lease))
        return stale
    }

    package func depth() async throws(QueueError) -> QueueDepth {
        // The writer returns only what it has in memory; the queries run on the reading connection and delay no write.
        let (counts, paused) = try await commits.perform { _, state in (state.counts.current, state.paused.current) }
        let now = clock.wall()
        return try await read { db in
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

    // MARK: Lifecycle

    /// Executes the calls that wait, ends all leases, and closes the database, which copies the log into it.
    ///
    /// Later calls throw `closed`. Closing twice is harmless.
    package func close() async {
        let release: GroupCommit.Body<Void> = { db, state in
            try db.execute(sql: "UPDATE batches SET leased = 0 WHERE leased <> 0")
            for batch in Array(state.held.current.keys) { state.held[batch] = nil }
        }
        // If the store is broken, full or taken over, this fails; opening the database ends the leases as well.
        try? await commits.close(after: release)
        // A checkpoint would sync files whose sync has failed, and the last connection to close performs one if it can
        // write.
        let isTrusted = !commits.hasDiskFailed && (try? marks.forgetPosition()) != nil
        for connection in isTrusted
            ? [connections.reader, connections.writer] : [connections.writer, connections.reader]
        {
            try? connection.close()
        }
        lock.unlock()
    }
}

extension SQLiteBackend: GatewayStore {}
