import HTTP2Session

/// What goes wrong, for which pushes: rules in order, the first that applies wins.
///
/// Only pushes that would have been accepted come here. A plain value: it decides, the connection acts.
public struct FaultPlan: Sendable, Equatable {
    public static let rulesMax = 100

    public private(set) var rules: [FaultRule]

    public init(_ rules: [FaultRule] = []) {
        self.rules = rules
    }

    public var isEmpty: Bool { rules.isEmpty }

    /// Decides about one push and counts it.
    package mutating func fault(for push: FaultCandidate) -> Fault? {
        for index in rules.indices where rules[index].applies(to: push) { return rules[index].fault }
        return nil
    }
}

/// What a rule can look at.
package struct FaultCandidate {
    var token: [UInt8]
    var topic: String

    package init(token: [UInt8], topic: String) {
        self.token = token
        self.topic = topic
    }
}

/// A condition and what then happens.
public struct FaultRule: Sendable, Equatable {
    /// First bytes of the device token; empty for any.
    public var tokenPrefix: [UInt8] = []
    /// The whole topic; nil for any.
    public var topic: String?
    /// Of the pushes that match so far: this one only, counted from 1.
    public var nth: Int?
    /// Of the pushes that match so far: every n-th.
    public var every: Int?
    /// Of the pushes that match so far: this share, 0...1, drawn from `seed`.
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

    mutating func applies(to push: FaultCandidate) -> Bool {
        guard push.token.starts(with: tokenPrefix), topic == nil || topic == push.topic else { return false }
        matched += 1
        if let nth, matched != nth { return false }
        if let every, !matched.isMultiple(of: every) { return false }
        // Drawn even when the rule is spent, so that the sequence depends on the pushes alone.
        if let probability, random.nextUnit() >= probability { return false }
        if let times, applied >= times { return false }
        applied += 1
        return true
    }
}

/// Something that happens to a push in place of a plain 200.
public struct Fault: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// Nothing but the delay.
        case accept
        case answer(FaultAnswer)
        /// Never answered; the stream stays open.
        case stall
        case reset(HTTP2ErrorCode)
        /// The TCP connection ends without a word.
        case close
        /// GOAWAY; streams up to its last one are answered, then the connection ends. nil: the last one is this
        /// push's stream when it is taken, else the one before.
        case goAway(lastStream: Int32?, code: HTTP2ErrorCode, debugData: [UInt8])
    }

    public var kind: Kind
    /// Before any of it happens.
    public var delay: Duration = .zero
    /// Whether APNs has taken the push all the same: an answer that is lost, not a push. Always true for `accept`.
    public var isTaken = false

    public init(_ kind: Kind, delay: Duration = .zero, isTaken: Bool = false) {
        self.kind = kind
        self.delay = delay
        self.isTaken = kind == .accept ? true : isTaken
    }
}

/// An answer of one's own making.
public struct FaultAnswer: Sendable, Equatable {
    public var status: UInt16
    /// Any text; empty for no JSON body.
    public var reason: String
    /// Seconds.
    public var retryAfter: UInt32?
    /// UNIX milliseconds, put beside the reason.
    public var timestamp: Int64?
    /// Sent in place of the JSON.
    public var body: [UInt8]?

    public init(
        status: UInt16, reason: String = "", retryAfter: UInt32? = nil, timestamp: Int64? = nil, body: [UInt8]? = nil
    ) {
        self.status = status
        self.reason = reason
        self.retryAfter = retryAfter
        self.timestamp = timestamp
        self.body = body
    }

    var answer: Answer {
        if let body {
            return Answer(status: status, reason: reason, body: HTTP2Body(body), retryAfter: retryAfter)
        }
        return Answer(status: status, reason: reason, timestamp: timestamp, retryAfter: retryAfter)
    }
}

/// A small generator with a seed (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct SplitMix64: Sendable, Equatable {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// 0 to 1, without 1.
    mutating func nextUnit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
