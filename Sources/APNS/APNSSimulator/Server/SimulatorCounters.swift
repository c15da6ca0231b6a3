/// Counts since the start or the last reset.
public struct SimulatorCounters: Sendable, Equatable {
    public var connectionsAccepted = 0
    /// Connections open now. A reset does not change it.
    public var connectionsOpen = 0
    /// Connections that ended before their TLS handshake completed.
    public var tlsFailures = 0
    /// Connections closed because the client violated HTTP/2.
    public var protocolErrors = 0
    /// Requests that were received completely.
    public var requests = 0
    /// Pushes accepted for delivery. Without faults, these are the pushes that got a 200.
    public var taken = 0
    /// Requests whose response was suppressed by a fault.
    public var unanswered = 0
    /// Streams that the client cancelled before the response.
    public var cancelled = 0
    /// Connections rejected by the connection limit or the connection rate; not included in `connectionsAccepted`.
    public var connectionsRefused = 0
    public var goAwaysSent = 0
    /// Streams reset because they exceeded the announced limit, or were incomplete when the connection wedged.
    public var streamsRefused = 0
    /// Streams reset by faults.
    public var streamsReset = 0
    /// Changes of the stream limit on open connections.
    public var streamLimitChanges = 0
    /// Requests to create, read, list and delete channels.
    public var channelRequests = 0
    /// Accepted broadcasts.
    public var broadcastsTaken = 0
    /// Faults by the name of their action.
    public var faultsByKind: [String: Int] = [:]
    /// Responses by HTTP status.
    public var answersByStatus: [Int: Int] = [:]
    /// Error responses by reason. At most 200 reasons are distinguished; further ones count as `(other)`.
    public var answersByReason: [String: Int] = [:]

    public init() {}

    /// Bounds `answersByReason`, because a fault can send any reason.
    static let reasonsMax = 200

    mutating func count(_ response: SimulatedResponse) { count(status: Int(response.status), reason: response.reason) }

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
