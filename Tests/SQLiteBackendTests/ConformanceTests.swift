import PushStoreConformance
import Testing

@Suite struct `The SQLite backend` {
    @Test(arguments: QueueConformance.clauses)
    func conforms(_ clause: Clause) async throws {
        try await clause.check { try SQLiteHarness() }
    }
}
