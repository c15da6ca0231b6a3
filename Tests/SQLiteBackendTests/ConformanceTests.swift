import PushStoreConformance
import Testing

@Suite struct `SQLite keeps the promises of the queue` {
    @Test(arguments: QueueConformance.clauses)
    func conforms(_ clause: Clause) async throws {
        try await clause.check { try SQLiteHarness() }
    }
}
