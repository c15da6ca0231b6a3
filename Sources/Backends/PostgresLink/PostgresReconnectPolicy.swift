/// Decides when the next attempt to connect begins. Pure: the caller passes time and random numbers.
///
/// Full jitter spreads the attempts of a fleet after an outage. No second sees more than two attempts: a link whose
/// sessions end immediately after the connect must not flood the server.
package struct PostgresReconnectPolicy {
    /// The longest delay after the first failure; it doubles with each further one.
    package let base: Duration
    /// The longest delay.
    package let cap: Duration
    /// Attempts in any second.
    package static let attemptsPerSecondMax = 2

    private var failures = 0
    private var delay: Duration = .zero
    private var lastEnd: ContinuousClock.Instant?
    private var lastStarts: [ContinuousClock.Instant] = []

    package init(base: Duration, cap: Duration) {
        self.base = base
        self.cap = cap
    }

    /// When the next attempt may begin; it may be in the past.
    package func next(after now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        var next = lastEnd.map { $0 + delay } ?? now
        if lastStarts.count == Self.attemptsPerSecondMax, let first = lastStarts.first {
            next = max(next, first + .seconds(1))
        }
        return next
    }

    package mutating func started(_ now: ContinuousClock.Instant) {
        lastStarts.append(now)
        if lastStarts.count > Self.attemptsPerSecondMax { lastStarts.removeFirst() }
    }

    /// - Parameter random: 0..<1.
    package mutating func failed(_ now: ContinuousClock.Instant, random: Double) {
        delay = min(cap, base * (1 << min(failures, 16))) * random
        failures += 1
        lastEnd = now
    }

    package mutating func succeeded() {
        failures = 0
        delay = .zero
    }

    /// The next attempt no longer waits for its delay, only for the limit of attempts in a second.
    package mutating func skipDelay() { delay = .zero }
}
