import PushModel

/// `docs/error-codes.md`, made from the table of codes.
package enum ErrorCodesPage {
    package static var markdown: String {
        var text = """
            # Error codes

            Every push that is not delivered and every item that is refused carries one of these codes. A number never changes its
            meaning. `GET /api/v1/codes` serves the same table as JSON.

            **Retried** says whether Godwit tries the push again by itself. With a code that is not retried the push has ended, or was
            never taken.

            This page is made from the code's own table; a test compares the two.

            """
        for (title, range) in [
            ("1xxx: the network between Godwit and APNs", 1000..<2000), ("2xxx: the protocols", 2000..<3000),
            ("3xxx: the business", 3000..<4000),
        ] {
            text +=
                "\n## \(title)\n\n| code | name | meaning | retried | what to do |\n| --- | --- | --- | --- | --- |\n"
            for code in ErrorCode.allCases where range.contains(Int(code.rawValue)) {
                let entry = code.entry
                text +=
                    "| \(code.rawValue) | `\(entry.name)` | \(entry.meaning) | \(entry.isRetried ? "yes" : "no") | \(entry.advice) |\n"
            }
        }
        return text
    }
}
