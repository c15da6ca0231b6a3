#if Postgres
import PostgresLink
import Testing

@Suite struct `Values of PostgreSQL` {
    @Test func `every type goes to the server and back, and so does NULL`() async throws {
        let connection = try await connect()
        func check<Value: PostgresValue & Equatable>(_ values: [Value], _ name: String) async throws {
            let one = PostgresStatement("one \(name)", [Value.postgresType], "SELECT $1::\(name)")
            for value in values {
                var parameters = PostgresParameters()
                parameters.append(value)
                let rows = try await connection.run(one, parameters)
                #expect(try rows.value(0, 0, as: Value.self) == value, "\(name)")
            }
            var null = PostgresParameters()
            null.append(Value?.none)
            let rows = try await connection.run(one, null)
            #expect(rows.isNull(0, 0))
            #expect(try rows.optional(0, 0, as: Value.self) == nil)
            #expect(throws: PostgresError.self) { try rows.value(0, 0, as: Value.self) }

            let many = PostgresStatement(
                "many \(name)", [Value.postgresArrayType, Value.postgresArrayType],
                """
                SELECT $1, $2, (SELECT array_agg(v ORDER BY n) FROM unnest($1) WITH ORDINALITY AS u(v, n)),
                cardinality($2)
                """)
            let optionals = values.map(Optional.some) + [nil]
            var arrays = PostgresParameters()
            arrays.append(array: values)
            arrays.append(optionals: optionals)
            let row = try await connection.run(many, arrays)
            #expect(try row.array(0, 0, of: Value.self) == values)
            #expect(try row.array(0, 1, of: Value.self) == optionals)
            #expect(try row.array(0, 2, of: Value.self) == values, "unnest keeps the order")
            #expect(try row.value(0, 3, as: Int32.self) == Int32(values.count + 1))

            var empty = PostgresParameters()
            empty.append(array: [Value]())
            empty.append(optionals: [Value?]())
            let none = try await connection.run(many, empty)
            #expect(try none.array(0, 0, of: Value.self) == [])
            #expect(try none.value(0, 3, as: Int32.self) == 0)
        }
        try await check([true, false], "bool")
        try await check([0, 1, -1, Int16.min, .max], "int2")
        try await check([0, 1, -1, Int32.min, .max], "int4")
        try await check([0, 1, -1, Int64.min, .max], "int8")
        try await check(["", "a", "ä\u{1F427}'\"\\"], "text")
        try await check([[], [0], [0, 255, 10, 0], [UInt8](repeating: 7, count: 3000)], "bytea")
        try await check(
            [PostgresUUID(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210), PostgresUUID(high: 0, low: 1)],
            "uuid")
        try await check(
            [0, 1, 1_700_000_000_123_456, -1, Int64.max, .min].map(PostgresTimestamp.init(microseconds:)), "timestamptz"
        )
    }

    @Test func `the server sees the values that were meant`() async throws {
        let connection = try await connect()
        var parameters = PostgresParameters()
        parameters.append(PostgresUUID(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210))
        parameters.append(PostgresTimestamp(microseconds: 1_700_000_000_123_456))
        parameters.append([UInt8]([1, 2, 255]))
        let rows = try await connection.run(
            PostgresStatement(
                "seen", [.uuid, .timestamptz, .bytea],
                "SELECT $1::text, to_char($2 AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), encode($3, 'hex')"),
            parameters)
        #expect(try rows.value(0, 0) == "01234567-89ab-cdef-fedc-ba9876543210")
        #expect(try rows.value(0, 1) == "2023-11-14 22:13:20.123456")
        #expect(try rows.value(0, 2) == "0102ff")
    }

    @Test func `five megabytes go both ways, alone and in arrays`() async throws {
        let connection = try await connect()
        let big = (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        var parameters = PostgresParameters()
        parameters.append(big)
        parameters.append(Int64(7))
        parameters.append(big)
        parameters.append(array: [big, [], [1]])
        let rows = try await connection.run(
            PostgresStatement("big", [.bytea, .int8, .bytea, .byteaArray], "SELECT $1, $2, length($3), $4"), parameters)
        #expect(try rows.value(0, 0) == big)
        #expect(rows.withBytes(0, 0) { $0.elementsEqual(big) })
        #expect(try rows.value(0, 1) == Int64(7))
        #expect(try rows.value(0, 2) == Int32(5_000_000))
        #expect(try rows.array(0, 3, of: [UInt8].self) == [big, [], [1]])
    }

    @Test func `a value of another type is refused, before it is sent and when it is read`() async throws {
        let connection = try await connect()
        let statement = PostgresStatement("typed", [.int8], "SELECT $1, 'a'::varchar, 1.5::numeric")
        var wrong = PostgresParameters()
        wrong.append(Int32(1))
        let sent = await failure { try await connection.run(statement, wrong) }
        #expect(sent?.kind == .invalid)
        #expect(connection.statistics.connectAttempts == 0)
        var right = PostgresParameters()
        right.append(Int64(1))
        let rows = try await connection.run(statement, right)
        #expect(throws: PostgresError.self) { try rows.value(0, 0, as: Int32.self) }
        #expect(try rows.value(0, 1) == "a", "varchar is text")
        #expect(throws: PostgresError.self) { try rows.value(0, 2, as: String.self) }
        #expect(throws: PostgresError.self) { try rows.array(0, 0, of: Int64.self) }
    }

    @Test func `counts of changed rows and of returned ones`() async throws {
        let connection = try await connect()
        try await connection.sql("CREATE TABLE t (id int8)")
        #expect(try await connection.sql("INSERT INTO t SELECT generate_series(1, 10)").affectedCount == 10)
        #expect(try await connection.sql("DELETE FROM t WHERE id < 4").affectedCount == 3)
        let rows = try await connection.sql("SELECT id, NULL FROM t ORDER BY id")
        #expect(rows.count == 7 && rows.columnCount == 2)
        #expect(try (0..<7).map { try rows.value($0, 0, as: Int64.self) } == Array(4...10))
    }
}
#endif
