/// One step from a version of the schema to the next.
///
/// Two versions of the program use one database while a fleet is upgraded. So a change is two migrations, one release
/// apart: *expand* adds tables, columns with a default, indexes and functions, which the older version does not notice;
/// *contract* removes what only the older version needed, and raises `readsMin` so that it is refused from then on.
package struct PostgresMigration: Sendable, Equatable {
    /// The version of the schema after this step; the first one is 1.
    package var version: Int32
    /// The oldest version of a program that can use the database after this step.
    package var readsMin: Int32
    /// Executed in one transaction.
    package var statements: [String]

    package init(version: Int32, readsMin: Int32, statements: [String]) {
        self.version = version
        self.readsMin = readsMin
        self.statements = statements
    }
}

/// What a database is to a program that knows certain migrations.
package enum PostgresSchemaState: Equatable, Sendable, CustomStringConvertible {
    /// There is no schema yet.
    case empty
    case current
    /// Migrations are missing.
    case older(found: Int32, known: Int32)
    /// A newer program has migrated it, and this one can still use it.
    case newer(found: Int32, known: Int32)
    /// A newer program has migrated it, and this one must not use it.
    case unreadable(found: Int32, known: Int32, readsMin: Int32)

    /// - Parameter known: the last version that the program knows.
    package init(found: Int32, readsMin: Int32, known: Int32) {
        self =
            if found < known {
                .older(found: found, known: known)
            } else if found == known {
                .current
            } else if readsMin <= known {
                .newer(found: found, known: known)
            } else {
                .unreadable(found: found, known: known, readsMin: readsMin)
            }
    }

    /// Whether the program can use the database as it is.
    package var isUsable: Bool {
        switch self {
        case .current, .newer: true
        case .empty, .older, .unreadable: false
        }
    }

    package var description: String {
        switch self {
        case .empty: "the database has no schema of Godwit yet"
        case .current: "the schema is current"
        case .older(let found, let known): "the schema has version \(found), this program needs version \(known)"
        case .newer(let found, let known):
            "the schema has version \(found), newer than this program's \(known), which can still use it"
        case .unreadable(let found, let known, let readsMin):
            "the schema has version \(found), which needs a program that knows version \(readsMin); this one knows \(known)"
        }
    }
}
