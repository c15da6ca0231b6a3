public import APNSWire

/// How an `APNSClient` is doing: a copy, never older than the last batch that was answered whole, nor than 50 ms
/// while pushes are in it.
public struct APNSClientSnapshot: Sendable, Equatable {
    /// Whether pushes can go.
    public enum State: String, Sendable, CaseIterable {
        /// Not connected, because there is nothing to send.
        case idle
        case connecting
        case ready
        /// Not connected; the next try comes soon.
        case waiting
        /// `shutdown` was called.
        case closed
    }

    public var state = State.idle
    /// Connections that take pushes.
    public var connections = 0
    /// Of all connections together.
    public var streamsOpen = 0
    /// Streams that may be open at once, of all connections together; 0 without one.
    public var streamsMax = 0
    /// Pushes that no connection has taken yet.
    public var waiting = 0

    /// Requests handed to a connection; a push that was moved counts again.
    public var sent: UInt64 = 0
    public var answered: UInt64 = 0
    /// Of those answered, the ones with status 200.
    public var accepted: UInt64 = 0
    public var ambiguous: UInt64 = 0
    /// Reported as refused or never written.
    public var unsent: UInt64 = 0
    /// Pushes sent again after a server had not processed them.
    public var requeued: UInt64 = 0

    /// Streams that we reset: pushes past their deadline, and answers without an end.
    public var resets: UInt64 = 0

    public var connects: UInt64 = 0
    public var goAways: UInt64 = 0
    /// Connections that were told to take no new pushes.
    public var retired: UInt64 = 0
    /// Why the last connection was lost, or could not be made.
    public var lastFailure = APNSAnswer.Failure.none
    /// What APNs has against the credential; `none` again after the next accepted push.
    public var credentialReason = APNSReason.none

    public init() {}

    mutating func count(_ answer: APNSAnswer) {
        switch answer.outcome {
        case .answered:
            answered += 1
            guard answer.status == 200 else { return }
            accepted += 1
            credentialReason = .none
        case .ambiguous: ambiguous += 1
        case .refused, .neverWritten: unsent += 1
        }
    }
}

extension APNSReason {
    /// Whether it is the credential that APNs refuses, and so every push that uses it.
    var isAboutCredential: Bool {
        switch self {
        case .badCertificate, .badCertificateEnvironment, .expiredProviderToken, .forbidden, .invalidProviderToken,
            .missingProviderToken, .unrelatedKeyIdInToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken,
            .topicMismatch:
            true
        default: false
        }
    }
}
