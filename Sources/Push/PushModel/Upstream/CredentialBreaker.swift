/// The breaker of an app's credential.
///
/// One refusal stops all pushes of the app, because APNs would refuse each of them. From then on one push at a time is
/// sent as a probe, until APNs accepts the credential again. Pure: the caller passes the time of the monotonic clock
/// and the random samples.
package struct CredentialBreaker: Sendable, Equatable {
    /// A probe is due between half of this and all of it after the last refusal.
    private let probeEvery: Duration
    private let probeTimeout: Duration
    private var probeAt: Duration?
    private var probe: (ticket: UInt64, deadline: Duration)?

    package init(probeEvery: Duration, probeTimeout: Duration) {
        self.probeEvery = probeEvery
        self.probeTimeout = probeTimeout
    }

    package var isRefused: Bool { probeAt != nil }
    /// Whether a probe is outstanding.
    package var isProbing: Bool { probe != nil }

    /// Records that APNs refused the credential.
    ///
    /// - Parameters:
    ///   - ticket: the batch of the refused push.
    ///   - jitter: a uniform random sample in 0..<1.
    /// - Returns: whether the credential was accepted before.
    package mutating func refused(_ ticket: UInt64, now: Duration, jitter: Double) -> Bool {
        // Pushes that were in flight at the first refusal carry no new information.
        guard !isRefused || probe?.ticket == ticket else { return false }
        let isStateChange = !isRefused
        scheduleProbe(now: now, jitter: jitter)
        return isStateChange
    }

    private mutating func scheduleProbe(now: Duration, jitter: Double) {
        probeAt = now + probeEvery * (0.5 + jitter / 2)
        probe = nil
    }

    /// Whether a probe may be sent now.
    package func isProbeDue(now: Duration) -> Bool {
        guard let probeAt else { return false }
        return probe == nil && probeAt <= now
    }

    /// The time until the next probe; nil if the credential is accepted.
    package func timeUntilProbe(now: Duration) -> Duration? { probeAt.map { max(.zero, $0 - now) } }

    /// Records that a push of the batch `ticket` is sent as a probe.
    package mutating func probe(_ ticket: UInt64, now: Duration) {
        probe = (ticket, now + probeTimeout)
    }

    /// Records that the batch `ticket` has answers other than refusals of the credential.
    ///
    /// - Parameter isClassified: whether APNs decided on a push of the batch, and so accepted the credential.
    /// - Returns: whether APNs accepts the credential again.
    package mutating func answered(_ ticket: UInt64, isClassified: Bool, now: Duration, jitter: Double) -> Bool {
        guard probe?.ticket == ticket else { return false }
        guard isClassified else {
            scheduleProbe(now: now, jitter: jitter)
            return false
        }
        probeAt = nil
        probe = nil
        return true
    }

    /// Applies the passage of time: a probe without an answer before its deadline has failed.
    package mutating func advance(now: Duration, jitter: Double) {
        if let probe, probe.deadline <= now { scheduleProbe(now: now, jitter: jitter) }
    }

    package static func == (a: CredentialBreaker, b: CredentialBreaker) -> Bool {
        a.probeAt == b.probeAt && a.probe?.ticket == b.probe?.ticket && a.probe?.deadline == b.probe?.deadline
    }
}
