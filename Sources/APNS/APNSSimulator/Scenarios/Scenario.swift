/// What a simulator plays: switches, states of tokens and faults, all the time and in phases.
public struct Scenario: Sendable {
    public static let phasesMax = 50

    /// A part of the scenario with a time of its own.
    public struct Phase: Sendable {
        public var name: String
        /// When it begins, after the scenario's start.
        public var at: Duration
        /// How long it lasts; nil: to the end.
        public var duration: Duration?
        /// What it changes in the settings; phases that overlap change them in order.
        public var settings: @Sendable (inout SimulatorSettings) -> Void
        /// Asked before the scenario's own.
        public var faults: [FaultRule]
        /// Asked before the scenario's own.
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

        /// - Parameter elapsed: since the scenario's start, or since its last repetition.
        func isActive(_ elapsed: Duration) -> Bool {
            elapsed >= at && (duration.map { elapsed < at + $0 } ?? true)
        }
    }

    public var name: String
    public var description: String
    public var settings: @Sendable (inout SimulatorSettings) -> Void
    public var faults: [FaultRule]
    public var tokens: [TokenRule]
    public var phases: [Phase]
    /// The phases begin again after so long; nil: they are played once.
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

    // MARK: At a time

    func activePhases(_ elapsed: Duration) -> [Phase] { phases.filter { $0.isActive(round(elapsed).elapsed) } }

    func settings(_ elapsed: Duration, from base: SimulatorSettings) -> SimulatorSettings {
        var result = base
        settings(&result)
        for phase in activePhases(elapsed) { phase.settings(&result) }
        return result
    }

    func tokens(_ elapsed: Duration) -> [TokenRule] { activePhases(elapsed).flatMap(\.tokens) + tokens }

    /// All rules, those of phases with the times of their phase.
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

    /// When something changes next; nil: never.
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

    /// Every problem at once.
    func problems() -> [String] {
        var problems: [String] = []
        let rules = plan.rules.count
        if rules > FaultPlan.rulesMax {
            problems.append("\(rules) fault rules, and \(FaultPlan.rulesMax) are the limit")
        }
        if let repeatsEvery {
            if repeatsEvery <= .zero { problems.append("repeat must be above zero") }
            for phase in phases where phase.at + (phase.duration ?? .zero) > repeatsEvery {
                problems.append("the phase \(phase.name) ends after the repetition begins")
            }
        }
        return problems
    }
}
