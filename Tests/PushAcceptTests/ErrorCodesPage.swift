import PushModel

/// `docs/reference/error-codes.md`, generated from the table of codes.
enum ErrorCodesPage {
    static var markdown: String {
        var text = """
            # Error codes

            Every push that is not delivered and every refused item carries one of these codes. A number never changes its meaning.
            `GET /api/v1/codes` returns the same table as JSON.

            **Retried** says whether Godwit tries the push again automatically. With a code that is not retried, the push has ended or
            was never accepted.

            This page is generated from `ErrorCode`; a test compares the two. `GODWIT_UPDATE_DOCS=1 make test` writes it again.

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
