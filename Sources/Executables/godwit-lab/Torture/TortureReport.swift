import GodwitCLI

/// The result of the checks as a table.
package struct TortureReport {
    private let checks: TortureChecks
    private let folder: String

    /// Findings shown for each check; the logs have the rest.
    private static let findingsMax = 5

    package init(_ checks: TortureChecks, folder: String) {
        self.checks = checks
        self.folder = folder
    }

    package var text: String {
        let rows =
            counts.map { ["\($0.name)", $0.count.grouped, $0.remark] }
            + checks.violations.map { [$0.name, $0.findings.count.grouped, Self.meaning[$0.name] ?? ""] }
        var lines = TextTable.lines(header: ["", "pushes", ""], rows: rows, rightAligned: [1])
        lines.append("")
        for (name, findings) in checks.violations where !findings.isEmpty {
            lines += findings.prefix(Self.findingsMax).map { "  \(name): \($0)" }
            let more = findings.count - Self.findingsMax
            if more > 0 { lines.append("  \(name): \(more.grouped) more") }
        }
        lines.append(
            "  \(checks.kills) × kill -9, \(checks.stops) × SIGTERM, \(checks.faults) faults of APNs; seed \(checks.seed ?? 0)"
        )
        lines.append("  logs: \(folder)")
        lines.append(checks.passed ? "  Every promise was kept." : "  A promise was broken.")
        return lines.joined(separator: "\n")
    }

    private var counts: [(name: String, count: Int, remark: String)] {
        func settled(_ state: String) -> Int { checks.states[state] ?? 0 }
        return [
            ("offered", checks.offered, "sent by the clients, each to a device of its own"),
            ("accepted", checks.accepted, "and confirmed to the client"),
            ("refused", checks.refused, "and reported to the client"),
            ("unknown", checks.unknown, "the client received no definite response"),
            ("recovered", checks.recovered, "of those, accepted: allowed"),
            ("delivered", settled("delivered"), ""),
            ("rejected", settled("rejected"), "by APNs, permanently"),
            ("expired", settled("expired"), ""),
            ("cancelled", settled("cancelled"), ""),
            ("given up", settled("given_up"), ""),
            ("received", checks.received, "by APNs, including retries"),
            ("duplicates", duplicates(.unanswered), "APNs did not answer: allowed"),
            ("duplicates", duplicates(.cut), "the connection was cut: allowed"),
            ("duplicates", duplicates(.kill), "the gateway was killed: allowed"),
        ]
    }

    private func duplicates(_ cause: TortureChecks.Cause) -> Int { checks.duplicates[cause] ?? 0 }

    private static let meaning = [
        "lost": "accepted and not settled, or reported as delivered and not accepted by APNs",
        "unexpected delivery": "received by APNs, but not sent so by a client",
        "late": "received by APNs after its expiration",
        "early": "received by APNs before its not_before",
        "after cancel": "received by APNs after its cancellation was confirmed",
        "changed": "final states that changed",
        "unexplained verdict": "verdicts without an explanation in the logs",
        "duplicate without cause": "answered, and sent again",
        "duplicated identity": "one push became two",
        "crashes": "unexpected exits, and failed stops",
    ]
}
