#if Postgres
import APNSWire
import PostgresLink
import PushModel
import PushStore
import Synchronization

/// The numbers of apps and lanes in the rows of batches. They never change, so an instance looks each up once.
final class AppLanes: Sendable {
    private let connection: PostgresConnection
    private let known = Mutex<[AppLane: Int16]>([:])

    init(_ connection: PostgresConnection) {
        self.connection = connection
    }

    /// nil unless all are known.
    func cached(_ appLanes: Set<AppLane>) -> [AppLane: Int16]? {
        let found = known.withLock { known in appLanes.compactMap { appLane in known[appLane].map { (appLane, $0) } } }
        return found.count == appLanes.count ? Dictionary(uniqueKeysWithValues: found) : nil
    }

    /// Looks up numbers, and gives numbers to app lanes that have none.
    func numbers(of appLanes: Set<AppLane>) async throws(QueueError) -> [AppLane: Int16] {
        if let cached = cached(appLanes) { return cached }
        try await read(appLanes)
        if let cached = cached(appLanes) { return cached }
        // Only those without one: a conflict would use up a number.
        let missing = appLanes.filter { cached([$0]) == nil }
        _ = try await connection.execute(call("app_lanes_insert", Self.insert, missing))
        try await read(missing)
        guard let cached = cached(appLanes) else {
            throw .unavailable("an app lane has no number", isOutcomeKnown: true)
        }
        return cached
    }

    private func read(_ appLanes: Set<AppLane>) async throws(QueueError) {
        let rows = try await connection.execute(call("app_lanes_select", Self.select, appLanes))
        try mappingErrors { () throws(PostgresError) in
            for row in 0..<rows.count {
                let (number, appLane): (Int16, AppLane) = (try rows.value(row, 0), try rows.appLane(row, 1))
                known.withLock { $0[appLane] = number }
            }
        }
    }

    private func call(_ name: String, _ sql: String, _ appLanes: Set<AppLane>) -> PostgresCall {
        let appLanes = Array(appLanes)
        return PostgresCall(name, sql) { parameters in
            parameters.append(array: appLanes.map(\.app.name))
            parameters.append(array: appLanes.map { Int16($0.appEnvironment.environment.code) })
            parameters.append(array: appLanes.map { Int16($0.lane.rawValue) })
        }
    }

    private static let select = """
        SELECT al.id, al.app, al.environment, al.lane FROM app_lanes al
        JOIN unnest($1, $2, $3) AS w(app, environment, lane)
            ON w.app = al.app AND w.environment = al.environment AND w.lane = al.lane
        """

    private static let insert = """
        INSERT INTO app_lanes (app, environment, lane)
        SELECT w.app, w.environment, w.lane FROM unnest($1, $2, $3) AS w(app, environment, lane)
        ORDER BY w.app, w.environment, w.lane ON CONFLICT DO NOTHING
        """
}
#endif
