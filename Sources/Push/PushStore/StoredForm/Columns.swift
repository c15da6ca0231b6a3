/// How a column is written: in full, as the one element that stands for all, or not at all.
enum Columns {
    /// `[]` when all of `column` equals `absent`, one element when all of it is equal, else the whole.
    static func folded<Element: Equatable>(_ column: [Element], absent: Element?) -> [Element] {
        guard let first = column.first else { return [] }
        guard column.allSatisfy({ $0 == first }) else { return column }
        return first == absent ? [] : [first]
    }
}

/// Reads a folded column by row.
struct FoldedColumn<Element> {
    private let values: [Element]
    /// 0 when one value, or none, stands for all rows.
    private let stride: Int

    /// - Parameters:
    ///   - absent: the value of all rows when the column is empty.
    ///   - rows: at least 1.
    /// - Throws: the column has neither no element, nor one, nor one for each row.
    init(_ column: [Element], absent: Element, rows: Int, name: StaticString) throws(CodecError) {
        guard column.count <= 1 || column.count == rows else {
            throw CodecError("column \(name) has \(column.count) elements for \(rows) rows")
        }
        values = column.isEmpty ? [absent] : column
        stride = values.count == 1 ? 0 : 1
    }

    subscript(row: Int) -> Element { values[row * stride] }
}
