#if Postgres
package import PushModel
package import PushStore

extension PostgresBackend: OutcomeStore {
    package func find(_ ids: [PushID]) async throws(StoreError) -> [PushStatus?] {
        do throws(QueueError) {
            try checkOpen()
            return try await StatusLookup.run(ids, connections.read)
        } catch {
            throw .unavailable("\(error)")
        }
    }
}

extension PostgresBackend: MessageSearch {
    package func search(
        _ query: MessageQuery, after: PushID?, limits: SearchLimits
    ) async throws(StoreError) -> MessagePage {
        let start = machineClock.monotonic()
        do throws(QueueError) {
            try checkOpen()
            return try await SearchStep(connection: connections.read, query: query, limits: limits, key: key)
                .run(after: after) { machineClock.monotonic() - start >= limits.time }
        } catch {
            throw .unavailable("\(error)")
        }
    }
}
#endif
