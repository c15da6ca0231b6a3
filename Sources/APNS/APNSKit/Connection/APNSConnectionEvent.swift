public import APNSWire

/// A change of one of a client's connections, or of their number.
///
/// Delivered on the client's event loop, in the order of the changes; the receiver must return immediately.
public struct APNSConnectionEvent: Sendable, Equatable {
    /// The change.
    public enum Kind: Sendable, Equatable {
        /// The client opens a connection.
        case connecting
        /// The server sent its SETTINGS: the connection takes pushes.
        case connected
        /// The server sent GOAWAY: it answers streams up to `lastStream`. `code` is an HTTP/2 error code.
        case goAway(code: UInt32, reason: APNSReason, lastStream: Int32)
        /// The connection takes no new pushes, and closes when the pushes in flight are answered.
        case draining(APNSDrainReason)
        /// The connection closed, or could not be opened.
        case closed(APNSAnswer.Failure)
        /// The target number of connections changed.
        case resized(connections: Int)
    }

    /// Numbers the client's connections from 1; 0 for `resized`.
    public var connection: UInt64
    public var kind: Kind

    public init(connection: UInt64, kind: Kind) {
        self.connection = connection
        self.kind = kind
    }
}

/// Why a connection takes no new pushes.
public enum APNSDrainReason: String, Sendable, CaseIterable {
    /// The server sent GOAWAY.
    case goAway
    /// The connection has reached `connectionAgeMax` and is replaced.
    case age
    /// Fewer connections are enough.
    case surplus
    /// The server acknowledges PINGs and answers no pushes.
    case stalled
    /// The server answers only with server errors: APNs has been seen to do this on single connections (Pushy, issue
    /// 408).
    case serverErrors
    /// The server answers pushes, and not as APNs does.
    case notAPNs
    /// The server refuses pushes that were refused before.
    case refusing
    /// APNs received an expired provider token, and accepts no other token on this connection (Pushy).
    case expiredToken
    /// APNs reported too many token updates, or unrelated keys, on this connection.
    case tokenUpdates
    /// The client's credential was replaced.
    case credentialReplaced
    /// All stream IDs are used up.
    case streamsUsedUp
    /// The server answered a push with `Shutdown` or `IdleTimeout`.
    case shutdown
}
