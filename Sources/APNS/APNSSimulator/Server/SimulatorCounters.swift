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
    /// Connections turned away by the connection limit or the rate guard; not among the accepted ones.
    public var connectionsRefused = 0
    public var goAwaysSent = 0
    /// Streams reset because they were over the announced limit, or in flight when it fell.
    public var streamsRefused = 0
    /// Streams that faults reset.
    public var streamsReset = 0
    /// Changes of the stream limit in mid-connection.
    public var streamLimitChanges = 0
    /// Requests to create, read, list and delete channels.
    public var channelRequests = 0
    /// Broadcasts that were accepted.
    public var broadcastsTaken = 0
    /// By the name of the action.
    public var faultsByKind: [String: Int] = [:]
    public var answersByStatus: [Int: Int] = [:]
    public var answersByReason: [String: Int] = [:]

    public init() {}

    /// Reasons told apart; faults can make up any.
    static let reasonsMax = 200

    mutating func count(_ answer: SimulatedResponse) { count(status: Int(answer.status), reason: answer.reason) }

    mutating func count(status: Int, reason: String) {
        answersByStatus[status, default: 0] += 1
        guard !reason.isEmpty else { return }
        let isKnown = answersByReason[reason] != nil || answersByReason.count < Self.reasonsMax
        answersByReason[isKnown ? reason : "(other)", default: 0] += 1
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
        connectionsRefused += other.connectionsRefused
        goAwaysSent += other.goAwaysSent
        streamsRefused += other.streamsRefused
        streamsReset += other.streamsReset
        streamLimitChanges += other.streamLimitChanges
        channelRequests += other.channelRequests
        broadcastsTaken += other.broadcastsTaken
        for (kind, count) in other.faultsByKind { faultsByKind[kind, default: 0] += count }
        for (status, count) in other.answersByStatus { answersByStatus[status, default: 0] += count }
        for (reason, count) in other.answersByReason { answersByReason[reason, default: 0] += count }
    }
}
