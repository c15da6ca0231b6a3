/// The breaker of an app's credential: one refusal closes the way, because every push would be refused alike, and from
/// then on one push at a time tries whether it has become good again. Pure: it is told the moment, by the monotonic clock.
package struct CredentialBreaker: Sendable, Equatable {
    /// A probe is sent half of this to all of it after the last refusal.
    private let probeEvery: Duration
    private let probeTimeout: Duration
    private var probeAt: Duration?
    private var probe: (ticket: UInt64, deadline: Duration)?

    package init(probeEvery: Duration, probeTimeout: Duration) {
        self.probeEvery = probeEvery
        self.probeTimeout = probeTimeout
    }

    package var isRefused: Bool { probeAt != nil }
    /// A probe is under way.
    package var isProbing: Bool { probe != nil }

    /// APNs does not take the credential.
    ///
    /// - Parameters:
    ///   - ticket: the batch that it was said of.
    ///   - draw: 0..<1, uniformly random.
    /// - Returns: whether this is news.
    package mutating func refused(_ ticket: UInt64, now: Duration, draw: Double) -> Bool {
        // What was under way when the first refusal came says nothing new.
        guard !isRefused || probe?.ticket == ticket else { return false }
        let isStateChange = !isRefused
        wait(now: now, draw: draw)
        return isStateChange
    }

    private mutating func wait(now: Duration, draw: Double) {
        probeAt = now + probeEvery * (0.5 + draw / 2)
        probe = nil
    }

    /// Whether a probe may be sent now.
    package func wantsProbe(now: Duration) -> Bool {
        guard let probeAt else { return false }
        return probe == nil && probeAt <= now
    }

    /// How long until the next probe; nil when the credential is fine.
    package func probesIn(now: Duration) -> Duration? { probeAt.map { max(.zero, $0 - now) } }

    package mutating func probe(_ ticket: UInt64, now: Duration) {
        probe = (ticket, now + probeTimeout)
    }

    /// The batch `ticket` was answered, and not with a refusal of the credential.
    ///
    /// - Parameter isClassified: APNs judged a push of it, so it took the credential.
    /// - Returns: whether the credential has become good.
    package mutating func answered(_ ticket: UInt64, isClassified: Bool, now: Duration, draw: Double) -> Bool {
        guard probe?.ticket == ticket else { return false }
        guard isClassified else {
            wait(now: now, draw: draw)
            return false
        }
        probeAt = nil
        probe = nil
        return true
    }

    /// Lets time pass: a probe of which nothing is heard has failed.
    package mutating func advance(now: Duration, draw: Double) {
        if let probe, probe.deadline <= now { wait(now: now, draw: draw) }
    }

    package static func == (a: CredentialBreaker, b: CredentialBreaker) -> Bool {
        a.probeAt == b.probeAt && a.probe?.ticket == b.probe?.ticket && a.probe?.deadline == b.probe?.deadline
    }
}
