public import APNSWire

/// The state of one connection at one moment.
public struct APNSConnectionSnapshot: Sendable, Equatable {
    /// The phase of a connection.
    public enum State: String, Sendable, CaseIterable {
        /// Until the server's first SETTINGS.
        case connecting
        case ready
        /// Was idle for a long time, and must acknowledge a PING before it gets pushes.
        case probing
        /// Takes no new pushes.
        case draining
    }

    /// Numbers the client's connections from 1.
    public var id: UInt64
    public var state: State
    /// The server's address and port; empty until the connection is ready.
    public var address = ""
    public var age: Duration = .zero
    public var streamsOpen = 0
    /// The client's limit or the server's, whichever is lower.
    public var streamsMax = 0
    /// Bytes of payload that the server's flow control currently allows.
    public var sendWindow = 0
    /// The time since the last answer; nil before the first.
    public var sinceLastAnswer: Duration?
    /// A moving average of the time from the write of a request to its answer; nil before the first.
    public var answerTime: Duration?
    /// The round trip of the last PING; nil before the first.
    public var roundTrip: Duration?
    public var sent: UInt64 = 0
    public var answered: UInt64 = 0
    public var accepted: UInt64 = 0
    /// Answers other than 200.
    public var answersByReason: [APNSReason: UInt64] = [:]

    init(id: UInt64, state: State) {
        self.id = id
        self.state = state
    }
}
