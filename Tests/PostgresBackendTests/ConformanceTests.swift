#if Postgres
import PushStoreConformance
import Testing

/// Clauses that are not implemented yet, by name.
private let missingClauses: Set<String> = []

@Suite(.serialized) struct `PostgreSQL keeps the promises of the storage contracts` {
    @Test(arguments: QueueConformance.clauses.filter { !missingClauses.contains($0.name) })
    func conforms(_ clause: Clause) async throws {
        try await clause.check { try await PostgresHarness() }
    }

    @Test func `every missing clause exists`() {
        #expect(missingClauses.subtracting(QueueConformance.clauses.map(\.name)).isEmpty)
    }
}
#endif
