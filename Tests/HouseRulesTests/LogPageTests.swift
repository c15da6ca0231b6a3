import Foundation
import PushTesting
import Testing

/// `docs/reference/logs.md` lists the messages that the sources log.
@Suite struct `The page of log messages` {
    private static let folders = ["Sources/APNS/APNSKit", "Sources/Push", "Sources/Backends", "Sources/Telemetry"]

    private struct Line: Hashable, CustomStringConvertible {
        var message: String
        var level: String

        var description: String { "\(level): \(message)" }
    }

    @Test func `has every message with its level and no others`() throws {
        let sources = try Self.folders.flatMap { try Repository.files(below: $0, suffix: ".swift") }
            .map { try String(contentsOfFile: "\(Repository.root)/\($0)", encoding: .utf8) }
        let logged = Set(sources.flatMap(lines(inSource:)))
        try #require(logged.count > 30)
        let page = try String(contentsOfFile: "\(Repository.root)/docs/reference/logs.md", encoding: .utf8)
        let documented = Set(lines(inPage: page))
        #expect(logged.subtracting(documented).map(\.description).sorted() == [], "not on the page")
        // Messages composed elsewhere, such as those of the audit, must also be texts of the sources.
        let unknown = documented.subtracting(logged).filter { line in
            !sources.contains { $0.contains("\"\(line.message)\"") }
        }
        #expect(unknown.map(\.description).sorted() == [], "on the page only")
    }

    @Test func `is compared with messages on a line of their own as well`() {
        let source = "logger.info(\"one\")\nlogger.error(\n    \"two\", metadata: [:])\nlogger.notice(\"\\(text)\")\n"
        #expect(lines(inSource: source) == [Line(message: "one", level: "info"), Line(message: "two", level: "error")])
        #expect(lines(inPage: "| `one` | info | – | – |\n") == [Line(message: "one", level: "info")])
    }

    /// Metadata whose values are numbers, so that they are logged by type and not as text.
    private static let numbers = [
        "apns.code", "apns.streams", "batches", "cancelled", "certificate.days", "code", "ids", "log.byte", "purged",
        "pushes", "pushes.in_flight", "pushes.sent", "replayed", "too_late", "unreadable",
    ]

    @Test func `has metadata that is a number in the sources too`() throws {
        let page = try String(contentsOfFile: "\(Repository.root)/docs/reference/logs.md", encoding: .utf8)
        for key in Self.numbers { #expect(page.contains("`\(key)`"), "\(key)") }
        for path in try Self.folders.flatMap({ try Repository.files(below: $0, suffix: ".swift") }) {
            let source = try String(contentsOfFile: "\(Repository.root)/\(path)", encoding: .utf8)
            for key in Self.numbers {
                #expect(!source.contains("\"\(key)\": \"\\("), "\(path): \(key)")
                #expect(!source.contains("[\"\(key)\"] = \"\\("), "\(path): \(key)")
            }
        }
    }

    private func lines(inSource source: String) -> [Line] {
        source.matches(of: /logger\.(trace|debug|info|notice|warning|error|critical)\(\s*"([^"\\]+)"/).map {
            Line(message: String($0.2), level: String($0.1))
        }
    }

    private func lines(inPage page: String) -> [Line] {
        page.matches(of: /(?m)^\| `([^`]+)` \| (\w+) \|/).map { Line(message: String($0.1), level: String($0.2)) }
    }
}
