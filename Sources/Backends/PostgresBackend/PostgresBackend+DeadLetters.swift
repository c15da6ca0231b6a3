#if Postgres
package import PushModel
package import PushStore

extension PostgresBackend: DeadLetterStore {
    package func deadLetters(of app: AppID?, after: PushID?, limit: Int) async throws(QueueError) -> [DeadLetter] {
        try checkOpen()
        return try await DeadLetters.list(of: app, after: after, limit: limit, connections.read)
    }

    package func deadLetter(_ id: PushID) async throws(QueueError) -> (letter: DeadLetter, push: DeadLetterContent?)? {
        try checkOpen()
        guard let letter = try await DeadLetters.find([id], connections.read).first else { return nil }
        guard let batch = try await DeadLetters.content(of: id.batch, connections.read), id.index < batch.count else {
            return (letter, nil)
        }
        return (letter, DeadLetterContent(batch, id.index))
    }

    package func replay(
        _ selection: DeadLetterSelection, at now: WallTime, where isAllowed: @escaping ReplayFilter
    ) async throws(QueueError) -> ReplayCount {
        try checkOpen()
        let replay = ReplayStep(connection: connections.control, key: key, now: now, isAllowed: isAllowed)
        var total = ReplayCount()
        var steps = DeadLetterSteps(selection)
        while let ids = try await steps.next(connections.control) {
            for (_, batch) in Dictionary(grouping: ids, by: \.batch).sorted(by: { $0.key < $1.key }) {
                let count = try await replay.run(batch)
                total.replayed += count.replayed
                total.unreadable += count.unreadable
                total.refused += count.refused
            }
        }
        return total
    }

    package func purge(_ selection: DeadLetterSelection) async throws(QueueError) -> Int {
        try checkOpen()
        var total = 0
        var steps = DeadLetterSteps(selection)
        while let ids = try await steps.next(connections.control) {
            total += try await DeadLetters.purge(ids, connections.control)
        }
        return total
    }
}
#endif
