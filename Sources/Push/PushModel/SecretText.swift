/// Hides what looks like a key, a password or a device token in a text for people.
///
/// Errors repeat what a caller wrote, and callers paste secrets in the wrong place: a key instead of the name of its file,
/// a token instead of a push ID. Push IDs, host names, paths and ordinary words stay readable.
package enum SecretText {
    private static let hidden = "…"
    /// From this length on, letters mixed with digits are no word. The longest part of a UUID has 12.
    private static let mixedLength = 16
    /// From this length on, letters alone are no word either.
    private static let length = 32

    /// `text`, with `…` for each of: PEM blocks, the user and password of a URL, what follows `Bearer` and `Basic`, and
    /// long runs of letters and digits together with the dashes, underscores and base64 signs around them.
    package static func masked(_ text: String) -> String {
        let text = maskWords(maskSchemes(maskURLs(maskPEM(text))))
        return text
    }

    private static func maskPEM(_ text: String) -> String {
        guard let start = text.firstRange(of: "-----BEGIN") else { return text }
        let rest = text[start.upperBound...]
        var end = text.endIndex
        if let footer = rest.firstRange(of: "-----END") {
            end = rest[footer.upperBound...].firstRange(of: "-----")?.upperBound ?? text.endIndex
        }
        return text[..<start.lowerBound] + hidden + maskPEM(String(text[end...]))
    }

    private static func maskURLs(_ text: String) -> String {
        text.replacing(/:\/\/[^\/\s"']*@/, with: "://\(hidden)@")
    }

    private static func maskSchemes(_ text: String) -> String {
        text.replacing(/\b(bearer|basic) +[^\s"']+/.ignoresCase()) { "\($0.1) \(hidden)" }
    }

    private static func maskWords(_ text: String) -> String {
        text.replacing(/[A-Za-z0-9_+=\-]+/) { looksSecret($0.0) ? hidden : String($0.0) }
    }

    private static func looksSecret(_ word: Substring) -> Bool {
        word.split { !$0.isLetter && !$0.isNumber }.contains { run in
            run.count >= length
                || run.count >= mixedLength && run.contains(where: \.isLetter) && run.contains(where: \.isNumber)
        }
    }
}
