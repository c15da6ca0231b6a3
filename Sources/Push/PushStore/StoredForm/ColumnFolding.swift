/// Folds columns: all elements, one element if all are equal, or none if all are absent.
enum ColumnFolding {
    /// `[]` if all elements equal `absent`, one element if all are equal, otherwise `column`.
    static func folded<Element: Equatable>(_ column: [Element], absent: Element?) -> [Element] {
        guard let first = column.first else { return [] }
        guard column.allSatisfy({ $0 == first }) else { return column }
        return first == absent ? [] : [first]
    }
}

/// Reads a folded column by row.
struct FoldedColumn<Element> {
    private let values: [Element]
    /// 0 if one value applies to all rows, otherwise 1.
    private let stride: Int

    /// - Parameters:
    ///   - absent: the value of all rows if the column is empty.
    ///   - rows: at least 1.
    /// - Throws: unless the column has no element, one, or one for each row.
    init(_ column: [Element], absent: Element, rows: Int, name: StaticString) throws(CodecError) {
        guard column.count <= 1 || column.count == rows else {
            throw CodecError("column \(name) has \(column.count) elements for \(rows) rows")
        }
        values = column.isEmpty ? [absent] : column
        stride = values.count == 1 ? 0 : 1
    }

    subscript(row: Int) -> Element { values[row * stride] }
}
