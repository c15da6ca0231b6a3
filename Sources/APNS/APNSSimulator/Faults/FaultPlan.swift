/// What goes wrong, when and for whom: rules in order, the first that applies wins.
///
/// A plain value: it decides, the connection acts.
public struct FaultPlan: Sendable, Equatable {
    public static let rulesMax = 100

    public private(set) var rules: [FaultRule]
    private var pushes = 0

    public init(_ rules: [FaultRule] = []) {
        self.rules = rules
    }

    public var isEmpty: Bool { rules.isEmpty }

    /// At which moments there is a rule to ask.
    var moments: FaultMoments {
        rules.reduce(into: FaultMoments()) { $0.insert(FaultMoments($1.moment)) }
    }

    /// Decides about one push or connection and counts it.
    package mutating func fault(for candidate: FaultCandidate) -> Fault? {
        var candidate = candidate
        if candidate.moment == .push {
            pushes += 1
            candidate.request = pushes
        }
        for index in rules.indices where rules[index].applies(to: candidate) { return rules[index].fault }
        return nil
    }
}

/// When a rule is asked.
public enum FaultMoment: String, Sendable, CaseIterable {
    /// A push has arrived completely and would be accepted.
    case push
    /// A push's header block has arrived, its body perhaps not. Nothing about it has been judged.
    case headers
    /// A client has connected; nothing has been said yet, TLS included.
    case connection
}

/// A set of moments in one byte.
struct FaultMoments: OptionSet, Sendable {
    let rawValue: UInt8

    static let push = FaultMoments(rawValue: 1)
    static let headers = FaultMoments(rawValue: 2)
    static let connection = FaultMoments(rawValue: 4)

    init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    init(_ moment: FaultMoment) {
        switch moment {
        case .push: self = .push
        case .headers: self = .headers
        case .connection: self = .connection
        }
    }
}

/// What a rule can look at.
package struct FaultCandidate {
    var moment = FaultMoment.push
    var token: [UInt8] = []
    var topic = ""
    /// Counts connections from 1, since the start.
    var connection: UInt64 = 0
    /// Counts the pushes of the connection from 1.
    var requestOnConnection = 0
    /// Counts the pushes that the plan was asked about; the plan itself does.
    fileprivate(set) var request = 0
    /// Since the plan was set.
    var elapsed: Duration = .zero

    package init(
        token: [UInt8] = [], topic: String = "", moment: FaultMoment = .push, connection: UInt64 = 1,
        requestOnConnection: Int = 1, elapsed: Duration = .zero
    ) {
        self.token = token
        self.topic = topic
        self.moment = moment
        self.connection = connection
        self.requestOnConnection = requestOnConnection
        self.elapsed = elapsed
    }
}

/// Some of the numbers from 1.
public enum NumberMatch: Sendable, Equatable {
    case exactly(Int)
    /// This one and its multiples; above zero.
    case every(Int)
    case first(Int)
    case from(Int)

    func matches(_ number: Int) -> Bool {
        switch self {
        case .exactly(let wanted): number == wanted
        case .every(let step): number.isMultiple(of: step)
        case .first(let count): number <= count
        case .from(let least): number >= least
        }
    }
}

/// A condition and what then happens. All that is set must hold.
public struct FaultRule: Sendable, Equatable {
    public var moment = FaultMoment.push
    /// First bytes of the device token; empty for any.
    public var tokenPrefix: [UInt8] = []
    public var tokenPattern: TokenPattern?
    /// The whole topic; nil for any.
    public var topic: String?
    /// The connection's number, from 1 since the simulator's start.
    public var connection: NumberMatch?
    /// The push's number on its connection, from 1, refused ones included.
    public var requestOnConnection: NumberMatch?
    /// The push's number over all connections, from 1 since the plan was set; for the moment `push` only.
    public var request: NumberMatch?
    /// The rule sleeps for so long after the plan was set.
    public var after: Duration = .zero
    /// And is over so long after that; nil: never.
    public var duration: Duration?
    /// And begins again after so long.
    public var repeatsEvery: Duration?
    /// Of those that match so far: this one only, counted from 1.
    public var nth: Int?
    /// Of those that match so far: every n-th.
    public var every: Int?
    /// Of those that match so far: this share, 0...1, drawn from `seed`.
    public var probability: Double?
    /// How often the rule applies before it is spent; nil for ever.
    public var times: Int?
    public var fault: Fault

    private var random: SplitMix64
    private var matched = 0
    private var applied = 0

    public init(_ fault: Fault, seed: UInt64 = 1) {
        self.fault = fault
        random = SplitMix64(seed: seed)
    }

    mutating func applies(to candidate: FaultCandidate) -> Bool {
        guard matches(candidate) else { return false }
        matched += 1
        if let nth, matched != nth { return false }
        if let every, !matched.isMultiple(of: every) { return false }
        // Drawn even when the rule is spent, so that the sequence depends on the pushes alone.
        if let probability, random.nextUnit() >= probability { return false }
        if let times, applied >= times { return false }
        applied += 1
        return true
    }

    private func matches(_ candidate: FaultCandidate) -> Bool {
        guard candidate.moment == moment, isAwake(candidate.elapsed) else { return false }
        if let connection, !connection.matches(Int(candidate.connection)) { return false }
        if moment == .connection { return true }
        guard candidate.token.starts(with: tokenPrefix), topic == nil || topic == candidate.topic else { return false }
        if let tokenPattern, !tokenPattern.matches(candidate.token) { return false }
        if let requestOnConnection, !requestOnConnection.matches(candidate.requestOnConnection) { return false }
        if let request, !request.matches(candidate.request) { return false }
        return true
    }

    private func isAwake(_ elapsed: Duration) -> Bool {
        var elapsed = elapsed
        if let repeatsEvery, repeatsEvery > .zero {
            let rounds = Int64(elapsed / repeatsEvery)
            elapsed -= repeatsEvery * rounds
        }
        guard elapsed >= after else { return false }
        return duration.map { elapsed < after + $0 } ?? true
    }
}
