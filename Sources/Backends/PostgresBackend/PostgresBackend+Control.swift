#if Postgres
import PostgresLink
package import PushModel
package import PushStore

extension PostgresBackend: QueueControl {
    package func cancel(_ ids: [PushID], at now: WallTime) async throws(QueueError) -> [CancelResult] {
        try checkOpen()
        let result = try await CancelStep(connection: connections.control, key: key, now: now).run(ids)
        count(result.writes)
        return result.results
    }

    package func cancel(_ target: CancelTarget, at now: WallTime) async throws(QueueError) -> CancelCount {
        try checkOpen()
        let result = try await CancelStep(connection: connections.control, key: key, now: now).run(target)
        count(result.writes)
        return result.count
    }

    package func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) async throws(QueueError) {
        try checkOpen()
        let pause = PostgresCall("pause", "INSERT INTO pauses (app, since) VALUES ($1, $2) ON CONFLICT DO NOTHING") {
            $0.append(app.name)
            $0.append(now.milliseconds)
        }
        let resume = PostgresCall("resume", "DELETE FROM pauses WHERE app = $1") { $0.append(app.name) }
        _ = try await connections.control.execute(isPaused ? pause : resume)
    }

    package func pausedApps() async throws(QueueError) -> [AppID: WallTime] {
        try checkOpen()
        let rows = try await connections.read.execute(PostgresCall("pauses", "SELECT app, since FROM pauses"))
        return try mappingErrors { () throws(PostgresError) in
            var apps: [AppID: WallTime] = [:]
            for row in 0..<rows.count { apps[AppID(try rows.value(row, 0))] = try rows.time(row, 1) }
            return apps
        }
    }
}
#endif
