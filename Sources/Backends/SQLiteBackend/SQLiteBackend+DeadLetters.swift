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

    package func replay(_ selection: DeadLetterSelection, at now: WallTime) async throws(QueueError) -> ReplayCount {
        let (replayed, all) = try await forEachBatch(of: selection) { ids, batch, key, db, state in
            try Replay(db: db, now: now).run(ids, of: batch, key: key, &state) ? ids.count : 0
        }
        return ReplayCount(replayed: replayed, unreadable: all - replayed)
    }

    package func purge(_ selection: DeadLetterSelection) async throws(QueueError) -> Int {
        try await forEachBatch(of: selection) { ids, batch, key, db, _ in
            try DeadLetterRows.delete(ids, of: batch, key: key, db)
            return ids.count
        }.done
    }

    /// The most dead letters of one write, so that other calls can run in between.
    private static let lettersPerWrite = 500

    private typealias Step =
        @Sendable ([PushID], BatchID, Int64, Database, inout QueueState) throws -> Int

    /// Calls `step` with the dead letters of a selection, batch by batch, in bounded writes.
    ///
    /// - Returns: the sum of the results of `step`, and the number of dead letters.
    private func forEachBatch(
        of selection: DeadLetterSelection, _ step: @escaping Step
    ) async throws(QueueError) -> (done: Int, all: Int) {
        var total = (done: 0, all: 0)
        switch selection {
        case .ids(let ids):
            let selected = Set(ids).sorted()
            for start in stride(from: 0, to: selected.count, by: Self.lettersPerWrite) {
                let page = Array(selected[start..<min(start + Self.lettersPerWrite, selected.count)])
                let (done, all) = try await commits.perform { db, state in
                    let found = try page.filter { try DeadLetterRows.find($0, db) != nil }
                    return (try Self.perform(step, over: found, db, &state), found.count)
                }
                total = (total.done + done, total.all + all)
            }
        case .app(let app):
            var after: PushID?
            repeat {
                let last = after
                let (done, all, next) = try await commits.perform { db, state in
                    let letters = try DeadLetterRows.list(of: app, after: last, limit: Self.lettersPerWrite, db)
                    let done = try Self.perform(step, over: letters.map(\.id), db, &state)
                    return (done, letters.count, letters.count == Self.lettersPerWrite ? letters.last?.id : nil)
                }
                total = (total.done + done, total.all + all)
                after = next
            } while after != nil
        }
        return total
    }

    private static func perform(
        _ step: Step, over ids: [PushID], _ db: Database, _ state: inout QueueState
    ) throws -> Int {
        var total = 0
        var start = 0
        while start < ids.count {
            // The ids are ascending, so those of one batch are adjacent.
            let batch = ids[start].batch
            let end = ids[start...].firstIndex { $0.batch != batch } ?? ids.count
            if let key = try DeadLetterRows.key(of: batch, db) {
                total += try step(Array(ids[start..<end]), batch, key, db, &state)
            }
            start = end
        }
        return total
    }
}
