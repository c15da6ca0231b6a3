public import APNSWire

/// Something that happened to one of a client's connections, or to their number.
///
/// Comes on the client's event loop, in the order of what happened; whoever listens must return at once.
public struct APNSConnectionEvent: Sendable, Equatable {
    /// What happened.
    public enum Kind: Sendable, Equatable {
        /// A connection is being made.
        case connecting
        /// The server's SETTINGS are there: pushes can go.
        case connected
        /// The server ends the connection; it answers streams up to `lastStream`. `code` is HTTP/2's.
        case goAway(code: UInt32, reason: APNSReason, lastStream: Int32)
        /// It takes no new pushes and closes when those it has are done.
        case retired(APNSDrainReason)
        /// It is gone, or could not be made.
        case closed(APNSAnswer.Failure)
        /// The number of connections aimed at has changed.
        case resized(connections: Int)
    }

    /// Counts the client's connections from 1; 0 for `resized`.
    public var connection: UInt64
    public var kind: Kind

    public init(connection: UInt64, kind: Kind) {
        self.connection = connection
        self.kind = kind
    }
}

/// Why a connection takes no new pushes.
public enum APNSDrainReason: String, Sendable, CaseIterable {
    /// The server said GOAWAY.
    case goAway
    /// It has reached its age and is replaced.
    case age
    /// Fewer connections will do.
    case surplus
    /// PINGs are answered, pushes are not.
    case stalled
    /// Nothing but server errors: APNs has been seen to wedge a connection (Pushy, issue 408).
    case serverErrors
    /// The server refuses streams that it had refused before.
    case refusing
    /// APNs saw an expired token on it, and will take none any more (Pushy).
    case expiredToken
    /// APNs counts too many tokens, or unrelated keys, on it.
    case tokenUpdates
    /// The client was given another credential.
    case credentialReplaced
    /// Its stream ids are used up.
    case streamsUsedUp
    /// The server says `Shutdown` or `IdleTimeout` in an answer.
    case shutdown
}
