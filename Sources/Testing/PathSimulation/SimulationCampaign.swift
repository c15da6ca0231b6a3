/// The sum of many runs.
package struct SimulationCampaign: Sendable {
    package private(set) var runs = 0
    package private(set) var events = 0
    package private(set) var pushes = 0
    package private(set) var deliveries = 0
    package private(set) var duplicates = 0
    package private(set) var ambiguities = 0
    package private(set) var virtualSeconds = 0.0
    /// The runs that violated an invariant.
    package private(set) var failures: [(seed: UInt64, violation: Violation, replayCommand: String)] = []

    package init() {}

    package mutating func add(_ report: SimulationReport) {
        runs += 1
        events += report.events
        pushes += report.pushes
        deliveries += report.deliveries
        duplicates += report.duplicates
        ambiguities += report.ambiguities
        virtualSeconds += report.virtualSeconds
        guard let violation = report.violation else { return }
        failures.append((report.seed, violation, report.replayCommand))
    }

    /// The number of violations by invariant, the most frequent first.
    package var violations: [(invariant: Invariant, count: Int)] {
        Invariant.allCases.map { invariant in
            (invariant, failures.reduce(0) { $0 + ($1.violation.invariant == invariant ? 1 : 0) })
        }.filter { $0.1 > 0 }.sorted { $0.1 > $1.1 }
    }

    package var summary: String {
        let found = violations.map { "\($0.invariant.rawValue): \($0.count)" }.joined(separator: "; ")
        return """
            \(runs) seeds, \(pushes) pushes, \(deliveries) deliveries, \(duplicates) duplicates for \(ambiguities) ambiguous \
            events, \(events) events in \(Int(virtualSeconds)) virtual seconds: \
            \(failures.isEmpty ? "every invariant held" : "\(failures.count) seeds failed (\(found))")
            """
    }
}
