/// What has happened since the start or the last reset.
public struct SimulatorCounters: Sendable, Equatable {
    public var connectionsAccepted = 0
    /// Now; a reset leaves it alone.
    public var connectionsOpen = 0
    /// Connections that ended before their TLS handshake did.
    public var tlsFailures = 0
    /// Connections that were ended because the client broke HTTP/2.
    public var protocolErrors = 0
    /// Requests that arrived completely.
    public var requests = 0
    /// Pushes that APNs would go on to deliver; usually, but with faults not always, those answered with 200.
    public var taken = 0
    /// Requests that a fault left without an answer.
    public var unanswered = 0
    /// Streams that the client gave up before they were answered.
    public var cancelled = 0
    public var answersByStatus: [Int: Int] = [:]
    public var answersByReason: [String: Int] = [:]

    public init() {}

    /// Reasons told apart; faults can make up any.
    static let reasonsMax = 200

    mutating func count(_ answer: Answer) {
        answersByStatus[Int(answer.status), default: 0] += 1
        guard !answer.reason.isEmpty else { return }
        let isKnown = answersByReason[answer.reason] != nil || answersByReason.count < Self.reasonsMax
        answersByReason[isKnown ? answer.reason : "(other)", default: 0] += 1
    }

    mutating func add(_ other: SimulatorCounters) {
        connectionsAccepted += other.connectionsAccepted
        connectionsOpen += other.connectionsOpen
        tlsFailures += other.tlsFailures
        protocolErrors += other.protocolErrors
        requests += other.requests
        taken += other.taken
        unanswered += other.unanswered
        cancelled += other.cancelled
        for (status, count) in other.answersByStatus { answersByStatus[status, default: 0] += count }
        for (reason, count) in other.answersByReason { answersByReason[reason, default: 0] += count }
    }
}
