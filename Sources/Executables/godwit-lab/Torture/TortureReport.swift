import GodwitCLI

/// A verdict as a table.
package struct TortureReport {
    private let verdict: TortureChecks
    private let folder: String

    /// Findings shown of each kind; the logs have the rest.
    private static let findingsMax = 5

    package init(_ verdict: TortureChecks, folder: String) {
        self.verdict = verdict
        self.folder = folder
    }

    package var text: String {
        let rows =
            counts.map { ["\($0.name)", $0.count.grouped, $0.remark] }
            + verdict.violations.map { [$0.name, $0.findings.count.grouped, Self.meaning[$0.name] ?? ""] }
        var lines = Columns.table(header: ["", "pushes", ""], rows: rows, rightAligned: [1])
        lines.append("")
        for (name, findings) in verdict.violations where !findings.isEmpty {
            lines += findings.prefix(Self.findingsMax).map { "  \(name): \($0)" }
            let more = findings.count - Self.findingsMax
            if more > 0 { lines.append("  \(name): and \(more.grouped) more") }
        }
        lines.append(
            "  \(verdict.kills) × kill -9, \(verdict.stops) × SIGTERM, \(verdict.faults) faults of APNs; seed \(verdict.seed ?? 0)"
        )
        lines.append("  logs: \(folder)")
        lines.append(verdict.isGood ? "  Every promise was kept." : "  A promise was broken.")
        return lines.joined(separator: "\n")
    }

    private var counts: [(name: String, count: Int, remark: String)] {
        func ended(_ state: String) -> Int { verdict.states[state] ?? 0 }
        return [
            ("offered", verdict.offered, "by the client, each to a device of its own"),
            ("accepted", verdict.accepted, "and told so"),
            ("refused", verdict.refused, "and told so"),
            ("unknown", verdict.unknown, "the client never learnt"),
            ("recovered", verdict.recovered, "of those, found all the same: allowed"),
            ("delivered", ended("delivered"), ""),
            ("rejected", ended("rejected"), "by APNs, for good"),
            ("expired", ended("expired"), ""),
            ("cancelled", ended("cancelled"), ""),
            ("given up", ended("given_up"), ""),
            ("received", verdict.received, "by APNs, retries included"),
            ("twice", twice(.unanswered), "taken again, since APNs had not answered: allowed"),
            ("twice", twice(.cut), "taken again, since the connection was cut: allowed"),
            ("twice", twice(.death), "taken again, since the gateway died: allowed"),
        ]
    }

    private func twice(_ cause: TortureChecks.Cause) -> Int { verdict.twice[cause] ?? 0 }

    private static let meaning = [
        "lost": "accepted, and not settled, or delivered to nobody",
        "phantom": "at APNs, and nobody sent it so",
        "late": "sent after its expiration",
        "early": "sent before its time",
        "after cancel": "sent after it was cancelled",
        "changed": "a verdict that changed",
        "unfounded": "a verdict without a reason",
        "twice without cause": "answered, and sent again",
        "split": "one push became two",
        "crashes": "ends that nobody asked for, and bad ones",
    ]
}
