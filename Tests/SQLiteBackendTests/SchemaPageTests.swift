import Foundation
import GRDB
import PushTesting
import SQLiteBackend
import Testing

@Suite struct `The database schema page` {
    /// `table.column TYPE`, and `index of table`.
    private static func documented() throws -> Set<String> {
        let path = "\(Repository.root)/docs/reference/schema.md"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        var found: Set<String> = []
        var table = ""
        for line in text.split(separator: "\n") {
            if line.hasPrefix("#") { table = "" }
            if line.hasPrefix("### "), let heading = line.firstMatch(of: /`(\w+)`/) { table = String(heading.1) }
            if let index = line.prefixMatch(of: /\| `(\w+)` \| `(\w+)` \|/) {
                found.insert("\(index.1) of \(index.2)")
            } else if !table.isEmpty, let column = line.prefixMatch(of: /\| `(\w+)` \| ([A-Z]+) \|/) {
                found.insert("\(table).\(column.1) \(column.2)")
            }
        }
        return found
    }

    @Test func `has the tables, columns and indexes of a new database`() async throws {
        let folder = try TemporaryFolder()
        let backend = try SQLiteBackend.open(folder: folder.path, clock: ManualClock().queueClock, logger: silence)
        await backend.close()
        let database = try DatabaseQueue(path: folder.path + "/" + SQLiteBackend.fileName)
        let found = try await database.read { db in
            var found: Set<String> = []
            for table in try String.fetchAll(db, sql: "SELECT name FROM sqlite_schema WHERE type = 'table'") {
                let columns = try Row.fetchAll(
                    db, sql: "SELECT name, type FROM pragma_table_info(?)", arguments: [table])
                for column in columns {
                    let (name, type): (String, String) = (column[0], column[1])
                    found.insert("\(table).\(name) \(type)")
                }
            }
            // Indexes without SQL belong to primary keys.
            let sql = "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
            for index in try Row.fetchAll(db, sql: sql) {
                let (name, table): (String, String) = (index[0], index[1])
                found.insert("\(name) of \(table)")
            }
            return found
        }
        try database.close()
        let page = try Self.documented()
        try #require(page.count > 40)
        #expect(found.subtracting(page).sorted() == [], "not on the page")
        #expect(page.subtracting(found).sorted() == [], "on the page only")
    }
}
