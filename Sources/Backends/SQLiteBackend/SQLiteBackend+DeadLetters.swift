import GRDB
package import PushModel
package import PushStore

extension SQLiteBackend: DeadLetterStore {
    package func deadLetters(of app: AppID?, after: PushID?, limit: Int) async throws(QueueError) -> [DeadLetter] {
        try await read { db in try DeadLetterRows.list(of: app, after: after, limit: limit, db) }
    }

    package func deadLetter(_ id: PushID) async throws(QueueError) -> (letter: DeadLetter, push: DeadLetterContent?)? {
        try await read { db in
            guard let letter = try DeadLetterRows.find(id, db) else { return nil }
            guard let key = try DeadLetterRows.key(of: id.batch, db),
                let batch = try DeadLetterRows.batch(of: id.batch, key: key, db), id.index < batch.count
            else { return (letter, nil) }
            return (letter, DeadLetterContent(batch, id.index))
        }
    }

    package func replay(
        _ selection: DeadLetterSelection, at now: WallTime, where isAllowed: @escaping ReplayFilter
    ) async throws(QueueError) -> ReplayCount {
        let total = try await forEachBatch(of: selection) { ids, batch, key, db, state in
            let (replayed, refused) = try Replay(db: db, now: now, isAllowed: isAllowed)
                .run(ids, of: batch, key: key, &state)
            return StepCount(done: replayed, refused: refused)
        }
        return ReplayCount(
            replayed: total.done, unreadable: total.all - total.done - total.refused, refused: total.refused)
    }

    package func purge(_ selection: DeadLetterSelection) async throws(QueueError) -> Int {
        try await forEachBatch(of: selection) { ids, batch, key, db, _ in
            try DeadLetterRows.delete(ids, of: batch, key: key, db)
            return StepCount(done: ids.count)
        }.done
    }

    /// The most dead letters of one write, so that other calls can run in between.
    private static let lettersPerWrite = 500

    private struct StepCount: Sendable {
        var all = 0
        var done = 0
        var refused = 0

        mutating func add(_ other: StepCount) {
            all += other.all
            done += other.done
            refused += other.refused
        }
    }

    private typealias Step =
        @Sendable ([PushID], BatchID, Int64, Database, inout QueueState) throws -> StepCount

    /// Calls `step` with the dead letters of a selection, batch by batch, in bounded writes.
    ///
    /// - Returns: the sum of the results of `step`, with the number of dead letters.
    private func forEachBatch(
        of selection: DeadLetterSelection, _ step: @escaping Step
    ) async throws(QueueError) -> StepCount {
        var total = StepCount()
        switch selection {
        case .ids(let ids):
            let selected = Set(ids).sorted()
            for start in stride(from: 0, to: selected.count, by: Self.lettersPerWrite) {
                let page = Array(selected[start..<min(start + Self.lettersPerWrite, selected.count)])
                total.add(
                    try await commits.perform { db, state in
                        let found = try page.filter { try DeadLetterRows.find($0, db) != nil }
                        return try Self.perform(step, over: found, db, &state)
                    })
            }
        case .app(let app):
            var after: PushID?
            repeat {
                let last = after
                let (count, next) = try await commits.perform { db, state in
                    let letters = try DeadLetterRows.list(of: app, after: last, limit: Self.lettersPerWrite, db)
                    let count = try Self.perform(step, over: letters.map(\.id), db, &state)
                    return (count, letters.count == Self.lettersPerWrite ? letters.last?.id : nil)
                }
                total.add(count)
                after = next
            } while after != nil
        }
        return total
    }

    private static func perform(
        _ step: Step, over ids: [PushID], _ db: Database, _ state: inout QueueState
    ) throws -> StepCount {
        var total = StepCount(all: ids.count)
        var start = 0
        while start < ids.count {
            // The ids are ascending, so those of one batch are adjacent.
            let batch = ids[start].batch
            let end = ids[start...].firstIndex { $0.batch != batch } ?? ids.count
            if let key = try DeadLetterRows.key(of: batch, db) {
                total.add(try step(Array(ids[start..<end]), batch, key, db, &state))
            }
            start = end
        }
        return total
    }
}
