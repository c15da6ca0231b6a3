import PostgresBackend
import Testing

@Suite struct `The state of a schema` {
    @Test func `follows from its version and the oldest program that can use it`() {
        #expect(PostgresSchemaState(found: 2, readsMin: 1, known: 3) == .older(found: 2, known: 3))
        #expect(PostgresSchemaState(found: 3, readsMin: 3, known: 3) == .current)
        #expect(PostgresSchemaState(found: 4, readsMin: 3, known: 3) == .newer(found: 4, known: 3))
        #expect(PostgresSchemaState(found: 5, readsMin: 4, known: 3) == .unreadable(found: 5, known: 3, readsMin: 4))
        #expect(PostgresSchemaState.current.isUsable)
        #expect(!PostgresSchemaState.empty.isUsable)
        #expect(!PostgresSchemaState(found: 2, readsMin: 1, known: 3).isUsable)
    }

    @Test func `migrations are numbered from 1, and raise the oldest program by one release at most`() {
        var readsMin: Int32 = 1
        for (index, migration) in PostgresSchema.migrations.enumerated() {
            #expect(migration.version == Int32(index + 1))
            #expect(migration.readsMin >= readsMin && migration.readsMin <= migration.version)
            readsMin = migration.readsMin
        }
    }
}
