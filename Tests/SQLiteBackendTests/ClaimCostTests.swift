import Foundation
import PushModel
import PushStore
import SQLiteBackend
import Testing

@Suite struct `The cost of a claim in SQLite` {
    private let clock = ManualClock()

    /// Pages that a claim reads while `batches` batches wait.
    private func pages(behind batches: Int) async throws -> Int {
        let folder = try TemporaryFolder()
        let backend = try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
        for start in stride(from: 0, to: batches, by: 1000) {
            let page = (start..<min(start + 1000, batches)).map { _ in NewBatch(batch: sampleBatch(at: clock.now)) }
            _ = try await backend.append(page)
        }
        clock.advance(by: .seconds(1))
        // The first claim also reads the schema.
        _ = try await backend.claim(ClaimRequest(batchesMax: 1, lease: .seconds(60)))
        let before = try await backend.pagesRead()
        let claimed = try await backend.claim(ClaimRequest(batchesMax: 8, lease: .seconds(60)))
        let pages = try await backend.pagesRead() - before
        #expect(claimed.count == 8)
        await backend.close()
        return pages
    }

    /// The trees of a large queue are two levels higher, which costs each statement a few more pages. A scan would read
    /// thousands.
    @Test func `does not depend on the backlog`() async throws {
        let (few, many) = (try await pages(behind: 10), try await pages(behind: 100_000))
        #expect(many <= 3 * few, "\(few) pages behind 10 batches, \(many) behind 100,000")
    }
}
