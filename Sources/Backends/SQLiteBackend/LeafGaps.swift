import Foundation
import GRDB
import GRDBSQLite

// SQLite leaves copies of rows in pages that are in use. When it rearranges a leaf page of a table, because rows next to it
// were deleted, it may move the rows of the page within it, and does not clear where they were (`rebuildPage` in btree.c;
// `secure_delete`, FAST or ON, clears only rows that are deleted). The copies are in the gap between the page's array of
// pointers and its rows, and stay there when the rows themselves are deleted. Only `bodies` has content of pushes.
//
//     │ header │ pointers → │            gap            │ rows, and free blocks between them │
//
// SQLite clears the gap in one case: when a row needs more bytes than the gap has and the page has them in all, it moves the
// rows of the page together. So one row of the page is extended with zeros until it fills the page, and gets its former
// content again, in one transaction. Neither changes the shape of the tree.
//
// The pages are read from the database file, as the last checkpoint left it. If it is older than the log, a gap is overlooked
// or a row is rewritten without need; both are harmless, and the next pass corrects the first.

/// One step of a pass over the leaf pages of `bodies` that clears their gaps.
///
/// The format is that of SQLite, "Database File Format", 1.6: B-tree Pages.
struct LeafGaps {
    /// Some 2 ms of reading.
    private static let leavesMax = 512
    /// Some 8 ms of writing.
    private static let (rowsMax, bytesMax) = (64, 2 << 20)
    /// Ends the walk through a tree that is damaged.
    private static let readsMax = 2 * leavesMax

    private let file: UnsafeMutablePointer<sqlite3_file>
    private let pageBytes: Int
    private let from: Int64
    private var reads = 0
    private var leaves = 0
    private var rows: [(key: Int64, growth: Int)] = []
    private var bytes = 0
    /// The first key after the leaves that were read.
    private var next: Int64?

    /// - Parameter from: the least key whose leaf is read.
    /// - Returns: how many rows were rewritten, twice each, and the key at which the next step begins; nil after the last.
    static func clear(_ db: Database, pageBytes: Int, from: Int64) throws -> (rows: Int, next: Int64?) {
        let root = try Int.fetchOne(
            db.cachedStatement(sql: "SELECT rootpage FROM sqlite_schema WHERE name = 'bodies'"))
        guard let root, var gaps = LeafGaps(db, pageBytes: pageBytes, from: from) else { return (0, nil) }
        let isLast = gaps.visit(root, depth: 0)
        for row in gaps.rows { try rewrite(row.key, growth: row.growth, db) }
        return (gaps.rows.count, isLast ? nil : gaps.next)
    }

    private init?(_ db: Database, pageBytes: Int, from: Int64) {
        var file: UnsafeMutablePointer<sqlite3_file>?
        let status = sqlite3_file_control(db.sqliteConnection, "main", SQLITE_FCNTL_FILE_POINTER, &file)
        guard status == SQLITE_OK, let file else { return nil }
        self.file = file
        self.pageBytes = pageBytes
        self.from = from
    }

    private static func rewrite(_ key: Int64, growth: Int, _ db: Database) throws {
        let select = try db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?")
        guard let body = try Data.fetchOne(select, arguments: [key]) else { return }
        let update = try db.cachedStatement(sql: "UPDATE bodies SET body = ? WHERE key = ?")
        try update.execute(arguments: [body + Data(count: growth), key])
        try update.execute(arguments: [body, key])
    }

    /// Reads the leaves below a page, in the order of their keys.
    ///
    /// - Returns: false if the step has to end.
    private mutating func visit(_ number: Int, depth: Int) -> Bool {
        guard reads < Self.readsMax, leaves < Self.leavesMax, rows.count < Self.rowsMax, bytes < Self.bytesMax,
            depth < 20, let page = read(number)
        else { return false }
        switch page.kind {
        case .leaf:
            leaves += 1
            if let row = page.rowToRewrite {
                rows.append((row.key, row.growth))
                bytes += row.bytes + row.growth
            }
            return true
        case .interior:
            for (child, last) in page.children where last >= from {
                guard visit(child, depth: depth + 1) else { return false }
                next = last == .max ? nil : last + 1
            }
            return visit(page.lastChild, depth: depth + 1)
        case .other:
            return false
        }
    }

    private mutating func read(_ number: Int) -> TablePage? {
        reads += 1
        guard number > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: pageBytes)
        let status = file.pointee.pMethods.pointee.xRead(
            file, &bytes, CInt(pageBytes), sqlite3_int64((number - 1) * pageBytes))
        return status == SQLITE_OK ? TablePage(bytes: bytes) : nil
    }
}

/// A page of a table's tree, not the first page of the file. Bytes outside of it read as zeros.
private struct TablePage {
    enum Kind { case leaf, interior, other }

    struct Row {
        var key: Int64
        /// Of the record, with its overflow pages.
        var bytes: Int
        var growth = 0
    }

    private struct Cell {
        var offset: Int
        var key: Int64
        var recordBytes: Int
        /// Bytes of the record that are in this page if all others are in full overflow pages …
        var wanted: Int
        /// … and those that are, because `wanted` may be more than `localMax`.
        var local: Int
    }

    let bytes: [UInt8]

    var kind: Kind {
        switch byte(0) {
        case 13: .leaf
        case 5: .interior
        default: .other
        }
    }

    // MARK: Interior pages

    /// The children before `lastChild`, each with the greatest key that it may have.
    var children: [(page: Int, last: Int64)] {
        pointers(from: 12).map { (number(at: $0), varint(at: $0 + 4).value) }
    }

    var lastChild: Int { number(at: 8) }

    // MARK: Leaf pages

    /// The row to extend, and by how many bytes, to clear the gap; nil if the gap has no copies of rows.
    var rowToRewrite: Row? {
        let cells = pointers(from: 8).map(cell)
        guard cells.allSatisfy({ (0...Int(Int32.max)).contains($0.recordBytes) }) else { return nil }
        let (start, top) = (8 + 2 * cells.count, number16(at: 5))
        // A row cannot fill a page alone: up to 22 bytes at the start of the gap stay.
        let first = start + (cells.count == 1 ? 22 : 0)
        guard first < top, top <= bytes.count, hasCopies(first..<top) else { return nil }
        // The row at the start of the rows would grow into the gap, which is then not cleared entirely.
        let others = cells.filter { $0.offset != top }
        let candidates = others.isEmpty ? cells : others
        guard let cell = candidates.min(by: { $0.recordBytes < $1.recordBytes }) else { return nil }
        return growth(of: cell, free: top - start + freeBytesBetweenRows).map {
            Row(key: cell.key, bytes: cell.recordBytes, growth: $0)
        }
    }

    /// Whether there is more than what SQLite itself leaves in cleared bytes: 4 bytes of the head of a free block, as far apart
    /// as rows are.
    private func hasCopies(_ gap: Range<Int>) -> Bool {
        var head = -16
        for offset in gap where bytes[offset] != 0 && offset - head >= 4 {
            if offset - head < 16 { return true }
            head = offset
        }
        return false
    }

    private var freeBytesBetweenRows: Int {
        var (sum, block) = (byte(7), number16(at: 1))
        while block > 0 {
            sum += number16(at: block + 2)
            let next = number16(at: block)
            guard next > block else { break }
            block = next
        }
        return sum
    }

    /// The bytes by which the record has to grow to use all free bytes of the page.
    private func growth(of cell: Cell, free: Int) -> Int? {
        var target = min(cell.local + free, localMax)
        while target > cell.local {
            let period = bytes.count - 4
            let growth = ((target - cell.wanted) % period + period) % period
            let header = Self.varintBytes(cell.recordBytes + growth) - Self.varintBytes(cell.recordBytes)
            if target - cell.local + header <= free { return growth }
            target -= 1
        }
        return nil
    }

    private func cell(at offset: Int) -> Cell {
        let record = varint(at: offset)
        let key = varint(at: offset + record.bytes)
        let size = Int(clamping: record.value)
        var cell = Cell(offset: offset, key: key.value, recordBytes: size, wanted: size, local: size)
        if size > localMax {
            let localMin = (bytes.count - 12) * 32 / 255 - 23
            cell.wanted = localMin + (size - localMin) % (bytes.count - 4)
            cell.local = cell.wanted <= localMax ? cell.wanted : localMin
        }
        return cell
    }

    private var localMax: Int { bytes.count - 35 }

    // MARK: Numbers

    private func pointers(from start: Int) -> [Int] {
        (0..<min(number16(at: 3), bytes.count / 2)).map { number16(at: start + 2 * $0) }
    }

    private func byte(_ offset: Int) -> Int { offset < bytes.count ? Int(bytes[offset]) : 0 }
    private func number16(at offset: Int) -> Int { byte(offset) << 8 | byte(offset + 1) }
    private func number(at offset: Int) -> Int { number16(at: offset) << 16 | number16(at: offset + 2) }

    private func varint(at offset: Int) -> (value: Int64, bytes: Int) {
        var value: UInt64 = 0
        for index in 0..<8 {
            let next = byte(offset + index)
            value = value << 7 | UInt64(next & 0x7F)
            if next < 0x80 { return (Int64(bitPattern: value), index + 1) }
        }
        return (Int64(bitPattern: value << 8 | UInt64(byte(offset + 8))), 9)
    }

    private static func varintBytes(_ value: Int) -> Int {
        max(1, (Int.bitWidth - value.leadingZeroBitCount + 6) / 7)
    }
}
