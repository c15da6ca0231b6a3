import Foundation
import PushModel
import PushStore
import SQLiteBackend
import Testing

@Suite struct `The cost of the queue depth in SQLite` {
    private let clock = ManualClock()

    /// Pages that the writer reads for one call, with waiting pushes of `apps` apps.
    private func pages(apps: Int) async throws -> Int {
        let folder = try TemporaryFolder()
        let backend = try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
        let start = clock.now
        func due(_ app: Int) -> WallTime { start + .milliseconds(Int64(app)) }
        for app in 0..<apps {
            _ = try await backend.append(
                Lane.allCases.map { NewBatch(batch: sampleBatch(2, at: due(app), app: "app-\(app)", lane: $0)) }
            )
        }
        clock.advance(by: .seconds(1))
        _ = try await backend.depth()
        let before = try await backend.pagesRead()
        let depth = try await backend.depth()
        let pages = try await backend.pagesRead() - before
        #expect(depth.rows.count == 3 * apps && depth.pushes == 6 * apps)
        #expect((0..<apps).allSatisfy { depth.oldestDue[AppID("app-\($0)")] == due($0) })
        await backend.close()
        return pages
    }

    /// The gateway calls it every second.
    @Test func `does not depend on the number of apps for the writer`() async throws {
        let (few, many) = (try await pages(apps: 1), try await pages(apps: 100))
        #expect(few == many)
    }
}
