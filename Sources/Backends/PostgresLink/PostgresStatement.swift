/// A statement that is prepared once in each session, under its name.
package struct PostgresStatement: Sendable, Hashable {
    /// Unique on a connection; empty for a statement that is parsed at each execution, as DDL is.
    package let name: String
    package let sql: String
    /// The types of `$1`, `$2`, …; parameters of other types are refused before anything is sent.
    package let types: [PostgresType]

    package init(_ name: String, _ types: [PostgresType], _ sql: String) {
        self.name = name
        self.sql = sql
        self.types = types
    }

    /// A statement without parameters.
    package init(_ name: String, _ sql: String) {
        self.init(name, [], sql)
    }

    /// A statement without parameters that is not prepared.
    package init(unprepared sql: String) {
        self.init("", [], sql)
    }

    package static func == (a: Self, b: Self) -> Bool { a.name == b.name && a.sql == b.sql && a.types == b.types }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(name)
    }
}

/// A statement with its parameters.
package struct PostgresCall: Sendable {
    package var statement: PostgresStatement
    package var parameters: PostgresParameters

    package init(_ statement: PostgresStatement, _ parameters: PostgresParameters = PostgresParameters()) {
        self.statement = statement
        self.parameters = parameters
    }
}
