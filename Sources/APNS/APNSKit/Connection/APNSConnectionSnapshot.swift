public import APNSWire

/// How one connection is doing.
public struct APNSConnectionSnapshot: Sendable, Equatable {
    /// What a connection is good for.
    public enum State: String, Sendable, CaseIterable {
        /// Until the server's first SETTINGS.
        case connecting
        case ready
        /// Was silent for so long that it must answer a PING before it gets pushes.
        case probing
        /// Takes no new pushes.
        case draining
    }

    /// Counts the client's connections from 1.
    public var id: UInt64
    public var state: State
    /// The server's address and port; empty until there is one.
    public var address = ""
    public var age: Duration = .zero
    public var streamsOpen = 0
    /// Ours and the server's limit, whichever is lower.
    public var streamsMax = 0
    /// Bytes of payload that the server lets us send before it makes room.
    public var sendWindow = 0
    /// Since the last answer; nil before the first.
    public var sinceLastAnswer: Duration?
    /// A moving average of the time from the write of a request to its answer; nil before the first.
    public var answerTime: Duration?
    /// Of the last PING; nil before the first.
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
