#if Postgres
import PostgresLink
import PushModel
import PushStore

/// An append that waits for its group.
struct AppendItem: Sendable {
    let append: EncodedAppend
    let completion: @Sendable (Result<[Lease?], QueueError>) -> Void

    var ids: [BatchID] { append.rows.map(\.batch.id) }
}

/// Writes appends: those that wait, in one transaction.
struct Appending: Sendable {
    let connection: PostgresConnection
    let owner: Int32

    /// Attempts after one with an unknown outcome.
    private static let repeatsMax = 2

    func run(_ items: [AppendItem]) async {
        do {
            let leases = try await write(items.map(\.append), before: []).leases
            for item in items { item.completion(.success(item.ids.map { leases[$0] ?? nil })) }
        } catch {
            guard items.count > 1, error.isDuplicate else {
                for item in items { item.completion(.failure(failure(error))) }
                return
            }
            // One of them has an ID that is in use: it must not refuse the others.
            for item in items { await run([item]) }
        }
    }

    private func failure(_ error: PostgresError) -> QueueError {
        error.isDuplicate ? .unavailable("a batch of this ID exists", isOutcomeKnown: true) : error.queueError
    }

    /// Executes one append with a call before it in the same transaction.
    ///
    /// - Returns: the leases, and the result of the call; nil if the response was lost.
    func run(
        _ append: EncodedAppend, before call: PostgresCall
    ) async throws(QueueError) -> (leases: [Lease?], result: PostgresRows?) {
        do {
            let (leases, results) = try await write([append], before: [call])
            return (append.rows.map { leases[$0.batch.id] ?? nil }, results.first)
        } catch {
            throw failure(error)
        }
    }

    /// A write whose outcome is unknown is repeated: the unique index makes the second one wait for the first. If it
    /// finds the batches there, the first one was committed.
    private func write(
        _ appends: [EncodedAppend], before: [PostgresCall]
    ) async throws(PostgresError) -> (leases: [BatchID: Lease?], results: [PostgresRows]) {
        let ids = appends.flatMap { $0.rows.map(\.batch.id) }
        var repeats = 0
        while true {
            let calls = before + BatchInsertion.calls(appends, owner: owner, isRepeated: repeats > 0)
            do {
                let results = try await connection.transaction(calls)
                guard !ids.isEmpty else { return ([:], results) }
                let leases = try BatchInsertion.leases(results[before.count])
                // Fewer only if the first attempt was committed and its batches have ended since.
                return (leases.count == ids.count ? leases : try await readBack(ids) ?? leases, results)
            } catch {
                if repeats > 0, error.isDuplicate || error.queueError == .idempotencyKeyUsed {
                    if let leases = try await readBack(ids) { return (leases, []) }
                    // Without batches it is unknown whose response it is.
                    if ids.isEmpty { throw PostgresError(.unavailable(isOutcomeKnown: false), error.message) }
                }
                guard error.isOutcomeUnknown, repeats < Self.repeatsMax else { throw error }
                repeats += 1
            }
        }
    }

    /// nil unless all of them are there.
    private func readBack(_ ids: [BatchID]) async throws(PostgresError) -> [BatchID: Lease?]? {
        let rows = try await connection.transaction([BatchInsertion.readBack(ids, owner: owner)])[0]
        let leases = try BatchInsertion.leases(rows)
        return !ids.isEmpty && leases.count == Set(ids).count ? leases : nil
    }
}
#endif
