import Foundation
import PushModel
import PushStore
import SQLiteBackend
import Testing

@Suite struct `The cost of a claim in SQLite` {
    private let clock = ManualClock()

    /// Pages that a claim looks at, when `batches` wait.
    private func pages(behind batches: Int, quarantined: Bool = false) async throws -> Int {
        let folder = try TemporaryFolder()
        let backend = try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
        for start in stride(from: 0, to: batches, by: 1000) {
            let some = (start..<min(start + 1000, batches)).map { _ in NewBatch(batch: sampleBatch(at: clock.now)) }
            _ = try await backend.append(some)
        }
        clock.advance(by: .seconds(1))
        // The first claim reads the schema and warms nothing else.
        _ = try await backend.claim(ClaimRequest(batchesMax: 1, lease: .seconds(60)))
        let before = try await backend.pagesLookedAt()
        let claimed = try await backend.claim(ClaimRequest(batchesMax: 8, lease: .seconds(60)))
        let pages = try await backend.pagesLookedAt() - before
        #expect(claimed.count == 8)
        await backend.close()
        return pages
    }

    /// The trees of a large queue are two levels higher: a few pages more for each of the statements, where a scan
    /// would look at thousands.
    @Test func `does not depend on the backlog`() async throws {
        let (few, many) = (try await pages(behind: 10), try await pages(behind: 100_000))
        #expect(many <= 3 * few, "\(few) pages behind 10 batches, \(many) behind 100,000")
    }
}
