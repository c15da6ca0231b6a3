/// A list of fault rules. The first rule that applies to a push or connection wins.
///
/// A value without I/O: the plan selects faults, connections carry them out.
public struct FaultPlan: Sendable, Equatable {
    /// The largest number of rules in a document.
    public static let rulesMax = 100

    public private(set) var rules: [FaultRule]
    private var pushes = 0

    public init(_ rules: [FaultRule] = []) {
        self.rules = rules
    }

    public var isEmpty: Bool { rules.isEmpty }

    /// The triggers of the plan's rules.
    var triggers: FaultTriggers {
        rules.reduce(into: FaultTriggers()) { $0.insert(FaultTriggers($1.trigger)) }
    }

    /// Counts a push or connection and returns the fault that applies to it, if any.
    package mutating func evaluate(_ candidate: FaultCandidate) -> Fault? {
        var candidate = candidate
        if candidate.trigger == .push {
            pushes += 1
            candidate.request = pushes
        }
        for index in rules.indices where rules[index].apply(to: candidate) { return rules[index].fault }
        return nil
    }
}

/// The event that a rule applies to.
public enum FaultTrigger: String, Sendable, CaseIterable {
    /// A complete push that would be accepted.
    case push
    /// The header block of a push, before its body and before any check.
    case headers
    /// A new TCP connection, before TLS.
    case connection
}

/// A set of triggers in one byte.
struct FaultTriggers: OptionSet, Sendable {
    let rawValue: UInt8

    static let push = FaultTriggers(rawValue: 1)
    static let headers = FaultTriggers(rawValue: 2)
    static let connection = FaultTriggers(rawValue: 4)

    init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    init(_ trigger: FaultTrigger) {
        switch trigger {
        case .push: self = .push
        case .headers: self = .headers
        case .connection: self = .connection
        }
    }
}

/// The push or connection that rules are matched against.
package struct FaultCandidate {
    var trigger = FaultTrigger.push
    var token: [UInt8] = []
    var topic = ""
    /// The connection's number, from 1 since the start.
    var connection: UInt64 = 0
    /// The push's number on its connection, from 1.
    var requestOnConnection = 0
    /// The push's number since the plan was set, from 1. Set by the plan.
    fileprivate(set) var request = 0
    /// The time since the plan was set.
    var elapsed: Duration = .zero

    package init(
        token: [UInt8] = [], topic: String = "", trigger: FaultTrigger = .push, connection: UInt64 = 1,
        requestOnConnection: Int = 1, elapsed: Duration = .zero
    ) {
        self.token = token
        self.topic = topic
        self.trigger = trigger
        self.connection = connection
        self.requestOnConnection = requestOnConnection
        self.elapsed = elapsed
    }
}

/// Matches some of the numbers from 1.
public enum NumberMatch: Sendable, Equatable {
    case exactly(Int)
    /// The multiples of a number above zero.
    case every(Int)
    case first(Int)
    case from(Int)

    func matches(_ number: Int) -> Bool {
        switch self {
        case .exactly(let wanted): number == wanted
        case .every(let step): number.isMultiple(of: step)
        case .first(let count): number <= count
        case .from(let first): number >= first
        }
    }
}

/// A fault and its conditions. All conditions that are set must match.
public struct FaultRule: Sendable, Equatable {
    public var trigger = FaultTrigger.push
    /// The first bytes of the device token; empty for any.
    public var tokenPrefix: [UInt8] = []
    /// nil for any device token.
    public var tokenPattern: TokenPattern?
    /// The full topic; nil for any.
    public var topic: String?
    /// The connection's number, from 1 since the simulator's start; nil for any.
    public var connection: NumberMatch?
    /// The push's number on its connection, from 1, including refused ones; nil for any.
    public var requestOnConnection: NumberMatch?
    /// The push's number over all connections, from 1 since the plan was set; for the trigger `push` only. nil for any.
    public var request: NumberMatch?
    /// The time from setting the plan to the start of the rule.
    public var after: Duration = .zero
    /// How long the rule lasts after its start; nil: indefinitely.
    public var duration: Duration?
    /// The period after which `after` and `duration` start over; nil: never.
    public var repeatsEvery: Duration?
    /// Selects one event among those that match all other conditions, counted from 1.
    public var nth: Int?
    /// Selects every n-th event among those that match all other conditions.
    public var every: Int?
    /// Selects a random share, 0...1, of the events that match all other conditions. Depends on the seed only.
    public var probability: Double?
    /// The largest number of times that the rule applies; nil: no limit.
    public var times: Int?
    public var fault: Fault

    private var random: SplitMix64
    private var matched = 0
    private var applied = 0

    public init(_ fault: Fault, seed: UInt64 = 1) {
        self.fault = fault
        random = SplitMix64(seed: seed)
    }

    /// Counts a matching event, and returns whether the fault applies to it.
    mutating func apply(to candidate: FaultCandidate) -> Bool {
        guard matches(candidate) else { return false }
        matched += 1
        if let nth, matched != nth { return false }
        if let every, !matched.isMultiple(of: every) { return false }
        // Drawn even if `times` is used up, so that the random sequence depends on the pushes only.
        if let probability, random.nextUnit() >= probability { return false }
        if let times, applied >= times { return false }
        applied += 1
        return true
    }

    private func matches(_ candidate: FaultCandidate) -> Bool {
        guard candidate.trigger == trigger, isActive(candidate.elapsed) else { return false }
        if let connection, !connection.matches(Int(candidate.connection)) { return false }
        if trigger == .connection { return true }
        guard candidate.token.starts(with: tokenPrefix), topic == nil || topic == candidate.topic else { return false }
        if let tokenPattern, !tokenPattern.matches(candidate.token) { return false }
        if let requestOnConnection, !requestOnConnection.matches(candidate.requestOnConnection) { return false }
        if let request, !request.matches(candidate.request) { return false }
        return true
    }

    private func isActive(_ elapsed: Duration) -> Bool {
        var elapsed = elapsed
        if let repeatsEvery, repeatsEvery > .zero {
            let rounds = Int64(elapsed / repeatsEvery)
            elapsed -= repeatsEvery * rounds
        }
        guard elapsed >= after else { return false }
        return duration.map { elapsed < after + $0 } ?? true
    }
}
