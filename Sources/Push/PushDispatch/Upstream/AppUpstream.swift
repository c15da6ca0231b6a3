import PushModel

/// The state that decides whether an app's pushes may be sent.
struct AppUpstream: Sendable {
    /// Whether the app has an APNs client.
    var hasClient: Bool
    /// Index of its `EndpointUpstream`.
    var endpointIndex: Int
    var isPaused = false
    var credential: CredentialBreaker
    var breaker: Breaker
    /// The app's part of the endpoint's retry budget.
    var budget: RetryBudget
    /// When the app last had retries to send.
    var retriedAt: Duration?
    var rate: SendRate?
    var waitsForRate = false
    var stallDetector = DeliveryStallDetector()
    /// When APNs last gave an answer that settles a push.
    var lastFinalAnswerAt: Duration?
    /// No trial of the app's quarantined batches starts before: its last trial was not answered, or could not be sent.
    var quarantineDeferredUntil: Duration?
    /// Since when batches wait in the store.
    var backlogSince: Duration?
    /// Answers since the last tick.
    var answered = 0
    /// A moving average.
    var answersPerSecond = 0.0

    /// Pause after a trial that was not answered. Several times the deadline of a trial, so that an app whose pushes
    /// are never answered uses few of the trials that all apps share.
    static let quarantinePause: Duration = .seconds(30)
    /// Pause after a trial that could not be sent immediately.
    static let quarantineTurnPause: Duration = .seconds(5)

    func defersQuarantined(now: Duration) -> Bool { quarantineDeferredUntil.map { now < $0 } ?? false }
}

/// The state that the apps of one APNs endpoint share.
struct EndpointUpstream: Sendable {
    let name: String
    /// Indexes of the apps.
    var apps: [Int] = []
    var breaker: Breaker

    /// Whether the endpoint has more than one app.
    var isShared: Bool { apps.count > 1 }
}

/// Whether the pushes of an app may be sent.
enum SendPermit: Equatable {
    case open
    /// At most this many, as probes of a breaker or credential.
    case probes(Int)
    /// Probes are in flight; their answers decide.
    case pending
    /// Not soon: waiting batches return to the store.
    case closed
}

/// Detects that an app sends and no push is delivered, whatever the cause.
///
/// It covers faults that no other check expects. Example, a public incident of 2026-04-27: a relay kept using a
/// connection after its GOAWAY, and every push failed for six hours until an operator restarted it.
struct DeliveryStallDetector: Sendable {
    private static let interval: Duration = .seconds(60)

    /// The first send since the last delivery or report.
    private var since: Duration?
    private var sends = 0

    mutating func sent(_ count: Int, now: Duration) {
        if since == nil { since = now }
        sends += count
    }

    mutating func delivered() {
        since = nil
        sends = 0
    }

    /// - Returns: at most once per minute, the number of pushes sent in the last minute if none was delivered.
    mutating func poll(now: Duration) -> Int? {
        guard let since, now - since >= Self.interval else { return nil }
        defer { delivered() }
        return sends
    }
}
