public import APNSWire

/// The state and the counters of an `APNSClient`.
///
/// A copy. It includes every batch that was completely answered, and is at most 50 ms old while pushes are in the
/// client.
public struct APNSClientSnapshot: Sendable, Equatable {
    /// Whether the client can send.
    public enum State: String, Sendable, CaseIterable {
        /// Not connected, because there is nothing to send.
        case idle
        case connecting
        case ready
        /// Not connected; the client waits for the next attempt to connect.
        case waiting
        /// `shutdown` was called.
        case closed
    }

    public var state = State.idle
    /// Connections that take pushes.
    public var connections = 0
    /// Open streams of all connections.
    public var streamsOpen = 0
    /// Streams that may be open concurrently on all connections; 0 without a connection.
    public var streamsMax = 0
    /// Pushes that wait for a connection.
    public var waiting = 0

    /// Requests passed to a connection; a requeued push counts again.
    public var sent: UInt64 = 0
    public var answered: UInt64 = 0
    /// Answers with status 200.
    public var accepted: UInt64 = 0
    public var ambiguous: UInt64 = 0
    /// Pushes reported as refused or never written.
    public var unsent: UInt64 = 0
    /// Pushes sent again after a server had not processed them.
    public var requeued: UInt64 = 0
    /// Pushes reported as refused because they had been sent again as often as the client does so.
    public var requeueLimit: UInt64 = 0

    /// Streams reset by the client: pushes past their deadline, and answers without an end.
    public var resets: UInt64 = 0

    /// Connections that became ready.
    public var connects: UInt64 = 0
    /// Attempts to connect that waited because many connections had been opened before.
    public var connectsDelayed: UInt64 = 0
    /// GOAWAY frames received.
    public var goAways: UInt64 = 0
    /// Connections that stopped taking new pushes; see `APNSDrainReason`.
    public var drained: UInt64 = 0
    /// Why the last connection closed, or could not be opened.
    public var lastFailure = APNSAnswer.Failure.none
    /// Connections that could not be opened or were lost, and answers that are not those of APNs, by cause.
    public var failures: [APNSConnectionFailure.Cause: UInt64] = [:]
    /// Since when no connection works, or pushes wait for 12 s and none is answered, and why. Nil before the first attempt,
    /// and again when APNs has answered a push, or while no push waits, when a server has acknowledged a PING.
    public var outage: APNSOutage?
    /// Why APNs rejects the credential; `none` again after the next accepted push.
    public var credentialReason = APNSReason.none
    /// The last refusal of a credential or topic, with the IDs of the credential and the likely cause; empty again after
    /// the next accepted push. Contains no secret.
    public var refusalDetail = ""

    public init() {}

    mutating func count(_ answer: APNSAnswer) {
        switch answer.disposition {
        case .answered:
            answered += 1
            guard answer.isAccepted else { return }
            accepted += 1
            guard !refusalDetail.isEmpty || credentialReason != .none else { return }
            credentialReason = .none
            refusalDetail = ""
        case .ambiguous: ambiguous += 1
        case .refused, .neverWritten: unsent += 1
        }
    }
}

extension APNSReason {
    /// Whether APNs does not let the credential send to the topic.
    var isAboutTopic: Bool {
        switch self {
        case .topicDisallowed, .badTopic, .missingTopic: true
        default: false
        }
    }

    /// Whether APNs rejects the credential, and so every push that uses it.
    var isAboutCredential: Bool {
        switch self {
        case .badCertificate, .badCertificateEnvironment, .expiredProviderToken, .invalidProviderToken,
            .missingProviderToken, .unrelatedKeyIdInToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken,
            .topicMismatch:
            true
        default: false
        }
    }
}
