/// Text for people: tables and figures.
package enum Columns {
    /// Lines of a table, columns two spaces apart, without spaces at the ends of lines.
    package static func table(header: [String], rows: [[String]], rightAligned: Set<Int> = []) -> [String] {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = row.enumerated().map { column, text in
                let space = String(repeating: " ", count: widths[column] - text.count)
                return rightAligned.contains(column) ? space + text : text + space
            }
            let line = cells.joined(separator: "  ")
            return "  " + line.reversed().drop { $0 == " " }.reversed()
        }
    }
}

extension Int {
    /// With a comma between groups of three digits.
    package var grouped: String {
        var text = ""
        for (index, digit) in String(magnitude).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return (self < 0 ? "-" : "") + text.reversed()
    }

    package func perSecond(in time: Duration) -> Int {
        time > .zero ? Int(Double(self) / (time / .seconds(1))) : 0
    }
}

extension Duration {
    /// `12 ms`, `3.4 s`, `5 min 10 s`.
    package var short: String {
        let seconds = self / .seconds(1)
        if seconds < 1 { return "\(Int(seconds * 1000)) ms" }
        if seconds < 60 { return "\(Int(seconds)).\(Int(seconds * 10) % 10) s" }
        return "\(Int(seconds) / 60) min \(Int(seconds) % 60) s"
    }
}
