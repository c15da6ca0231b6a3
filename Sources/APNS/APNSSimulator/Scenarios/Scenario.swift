/// A script for a simulator: settings, token states and faults that apply throughout or in phases.
public struct Scenario: Sendable {
    /// The largest number of phases in a document.
    public static let phasesMax = 50

    /// A part of the scenario with its own start and duration.
    public struct Phase: Sendable {
        public var name: String
        /// The start, relative to the scenario's start.
        public var at: Duration
        /// nil: until the end of the scenario.
        public var duration: Duration?
        /// Changes the settings. Overlapping phases are applied in order.
        public var settings: @Sendable (inout SimulatorSettings) -> Void
        /// Checked before the scenario's own rules.
        public var faults: [FaultRule]
        /// Checked before the scenario's own rules.
        public var tokens: [TokenRule]

        public init(
            _ name: String, at: Duration, duration: Duration? = nil, faults: [FaultRule] = [],
            tokens: [TokenRule] = [], settings: @escaping @Sendable (inout SimulatorSettings) -> Void = { _ in }
        ) {
            self.name = name
            self.at = at
            self.duration = duration
            self.settings = settings
            self.faults = faults
            self.tokens = tokens
        }

        /// - Parameter elapsed: The time since the scenario's start or its last repetition.
        func isActive(_ elapsed: Duration) -> Bool {
            elapsed >= at && (duration.map { elapsed < at + $0 } ?? true)
        }
    }

    public var name: String
    public var description: String
    /// Changes the settings for the whole scenario.
    public var settings: @Sendable (inout SimulatorSettings) -> Void
    public var faults: [FaultRule]
    public var tokens: [TokenRule]
    public var phases: [Phase]
    /// The period after which the phases start over; nil: they are played once.
    public var repeatsEvery: Duration?

    public init(
        _ name: String, description: String = "", faults: [FaultRule] = [], tokens: [TokenRule] = [],
        phases: [Phase] = [], repeatsEvery: Duration? = nil,
        settings: @escaping @Sendable (inout SimulatorSettings) -> Void = { _ in }
    ) {
        self.name = name
        self.description = description
        self.settings = settings
        self.faults = faults
        self.tokens = tokens
        self.phases = phases
        self.repeatsEvery = repeatsEvery
    }

    // MARK: State at a time

    func activePhases(_ elapsed: Duration) -> [Phase] { phases.filter { $0.isActive(round(elapsed).elapsed) } }

    func settings(_ elapsed: Duration, from base: SimulatorSettings) -> SimulatorSettings {
        var result = base
        settings(&result)
        for phase in activePhases(elapsed) { phase.settings(&result) }
        return result
    }

    func tokens(_ elapsed: Duration) -> [TokenRule] { activePhases(elapsed).flatMap(\.tokens) + tokens }

    /// All fault rules. Those of phases are limited to the time of their phase.
    var plan: FaultPlan {
        let ofPhases = phases.flatMap { phase in
            phase.faults.map { rule in
                var rule = rule
                let end = [rule.duration.map { rule.after + $0 }, phase.duration].compactMap { $0 }.min()
                rule.duration = end.map { $0 - rule.after }
                rule.after += phase.at
                rule.repeatsEvery = repeatsEvery
                return rule
            }
        }
        return FaultPlan(ofPhases + faults)
    }

    /// When the next phase starts or ends; nil: never.
    func nextChange(after elapsed: Duration) -> Duration? {
        let (start, inRound) = round(elapsed)
        let times = phases.flatMap { phase in [phase.at, phase.duration.map { phase.at + $0 }].compactMap { $0 } }
        let next = (times + [repeatsEvery].compactMap { $0 }).filter { time in
            time > inRound && repeatsEvery.map { time <= $0 } ?? true
        }
        return next.min().map { start + $0 }
    }

    private func round(_ elapsed: Duration) -> (start: Duration, elapsed: Duration) {
        guard let repeatsEvery, repeatsEvery > .zero else { return (.zero, elapsed) }
        let start = repeatsEvery * Int64(elapsed / repeatsEvery)
        return (start, elapsed - start)
    }

    /// Every problem of the scenario; empty if it is valid.
    func problems() -> [String] {
        var problems: [String] = []
        let rules = plan.rules.count
        if rules > FaultPlan.rulesMax {
            problems.append("\(rules) fault rules exceed the limit of \(FaultPlan.rulesMax)")
        }
        if let repeatsEvery {
            if repeatsEvery <= .zero { problems.append("repeat must be above zero") }
            for phase in phases where phase.at + (phase.duration ?? .zero) > repeatsEvery {
                problems.append("the phase \(phase.name) ends after the scenario repeats")
            }
        }
        return problems
    }
}
