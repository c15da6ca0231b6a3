import PushModel

/// What an app of the gateway is to dispatch.
package struct DispatchApp: Sendable, Equatable {
    /// What the app shares with others: the APNs endpoint. Apps of one environment have one breaker and one retry budget.
    package var environment: String
    /// Pushes to APNs; nil: as many as it takes.
    package var pushesPerSecond: Int?

    package init(environment: String = "", pushesPerSecond: Int? = nil) {
        self.environment = environment
        self.pushesPerSecond = pushesPerSecond
    }
}

/// What stands between an app's batches and its client.
struct AppUpstream: Sendable {
    /// Whether the app has a client.
    var isKnown: Bool
    /// Where its environment is kept.
    var environment: Int
    var isPaused = false
    var credential: CredentialBreaker
    var breaker: Breaker
    /// Its part of that of the environment.
    var budget: RetryBudget
    /// When it last had something to send again.
    var retriedAt: Duration?
    var rate: SendRate?
    var waitsForRate = false
    var watch = DeliveryStallDetector()
    /// When APNs last said its last word on a push.
    var judgedAt: Duration?
    /// Suspects of the app were tried and not answered, or could not be sent: those of others are tried first.
    var quarantinedWaitUntil: Duration?
    /// Since when batches wait in the store.
    var backlogSince: Duration?
    /// Pushes decided by answers since the last look, and in a second as a rule.
    var answered = 0
    var answersPerSecond = 0.0

    /// How long the suspects of an app wait after a piece of them that was not answered. Several times the deadline of a
    /// piece, so that an app whose APNs side is silent takes little of what all suspects share.
    static let quarantinePause: Duration = .seconds(30)
    /// The same when they could not be sent at once.
    static let quarantineTurnPause: Duration = .seconds(5)

    func defersQuarantined(now: Duration) -> Bool { quarantinedWaitUntil.map { now < $0 } ?? false }
}

/// What the apps with one APNs endpoint share.
struct EndpointUpstream: Sendable {
    let name: String
    var apps: [Int] = []
    var breaker: Breaker

    /// Whether other apps may have something to send.
    var isShared: Bool { apps.count > 1 }
}

/// Whether the pushes of an app may go.
enum SendPermit: Equatable {
    case open
    /// So many at most, to see whether the way is free again.
    case probes(Int)
    /// Probes are on their way: it will be known soon.
    case wait
    /// Not for some time: what is in memory goes back to the store.
    case shut
}

/// Notices when an app sends and nothing at all is delivered: the sign of a fault that nobody has thought of.
///
/// A public incident of 2026-04-27 is the example: a relay kept a connection after its GOAWAY, and every push failed for
/// six hours until a human restarted it.
struct DeliveryStallDetector: Sendable {
    private static let patience: Duration = .seconds(60)

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

    /// - Returns: how many pushes were sent without a single delivery in a minute, once a minute.
    mutating func alarm(now: Duration) -> Int? {
        guard let since, now - since >= Self.patience else { return nil }
        defer { delivered() }
        return sends
    }
}
