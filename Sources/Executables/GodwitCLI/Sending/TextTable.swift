/// Aligns text in columns.
package enum TextTable {
    /// Formats a table: columns two spaces apart, no trailing spaces.
    package static func lines(header: [String], rows: [[String]], rightAligned: Set<Int> = []) -> [String] {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = row.enumerated().map { column, text in
                let padding = String(repeating: " ", count: widths[column] - text.count)
                return rightAligned.contains(column) ? padding + text : text + padding
            }
            let line = cells.joined(separator: "  ")
            return "  " + line.reversed().drop { $0 == " " }.reversed()
        }
    }

    /// Formats a JSON object: one field per line, in the given order, without empty and null fields.
    ///
    /// - Parameter more: further fields, by those of the object.
    package static func fields(
        of json: [UInt8], more: ([String: String]) -> [(name: String, value: String)] = { _ in [] }
    ) -> String {
        var fields: [(name: String, value: String)] = []
        json.withUnsafeBytes { bytes in
            var reader = FieldReader(bytes)
            while let field = try? reader.next() {
                if field.value != "null", field.value != "" { fields.append(field) }
            }
        }
        fields += more(Dictionary(fields.map { ($0.name, $0.value) }) { first, _ in first })
        let width = fields.map(\.name.count).max() ?? 0
        return fields.map { name, value in
            name + String(repeating: " ", count: width - name.count + 2) + value
        }.joined(separator: "\n")
    }
}

extension Int {
    /// With commas as thousands separators.
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
