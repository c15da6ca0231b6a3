package import APNSWire

/// Whether APNs accepts the credential of an app in one environment.
///
/// ```
///              one refusal                  refused again
///   accepted ──────────────▶ checking ──────────────────────▶ refused ◀─┐
///      ▲                        │                              │  │     │
///      │    the check is good   │                              │  └─────┘ probe refused
///      └────────────────────────┘                              │
///      ▲                                      a probe is good  │
///      └───────────────────────────────────────────────────────┘
/// ```
///
/// - Accepted: a single refusal starts a check, because one answer may be wrong or may concern its push only. Refusals
///   of several tokens without a good answer in the same group need no check.
/// - Checking: one push is sent; all others are held until its answer. A push to another device token is sent
///   immediately; the refused token itself only after a second, when there is no other.
/// - Refused: one push at a time is sent as a probe, every few seconds. A good answer ends the state. While a single
///   token was refused, a push to another one is a probe without delay.
///
/// Pure: the caller passes the time of the monotonic clock and the random samples.
package struct CredentialCheck: Sendable, Equatable {
    package struct Settings: Sendable, Equatable {
        /// The time until the refused push may check the credential itself.
        package var sameTokenAfter: Duration = .seconds(1)
        /// The longest time between probes in the first `quickTime`; the shortest is half of it.
        package var probeBase: Duration = .seconds(5)
        package var quickTime: Duration = .seconds(60)
        /// The longest time between later probes; it is reached by doubling.
        package var probeCap: Duration = .seconds(30)
        /// How long an answer to a check or probe is waited for; above the longest time that the APNs client takes.
        package var probeTimeout: Duration = .seconds(30)
        /// After a check was good, a single token that is refused again starts no other one for this long.
        package var recheckAfter: Duration = .seconds(10)

        package init() {}
    }

    package enum State: UInt8, Sendable {
        case accepted = 0
        case checking = 1
        case refused = 2
    }

    package enum Change: Sendable, Equatable {
        /// APNs accepted the credential after a single refusal. The waiting pushes may be sent.
        case checked
        case refused
        /// APNs accepts the credential again.
        case accepted
    }

    private struct Probe: Sendable, Equatable {
        var ticket: UInt64
        var token: UInt64
        var sentAt: Duration
    }

    package let settings: Settings
    package private(set) var state = State.accepted
    /// The reason of the last refusal.
    package private(set) var cause = APNSReason.none
    /// Tokens that were refused since the last good answer.
    private var tokens = DistinctTokens()
    private var probe: Probe?
    /// The tokens of the last probes, in a ring.
    private var probedTokens: [UInt64] = []
    private static let probedTokensMax = 64
    private var checkingSince: Duration = .zero
    private var refusedSince: Duration = .zero
    private var nextProbeAt: Duration = .zero
    private var interval: Duration
    private var checkedAt: Duration?

    package init(settings: Settings = Settings()) {
        self.settings = settings
        interval = settings.probeBase
    }

    // MARK: Answers

    /// Records one group of answers. Answers to probes are reported separately, by `probeAnswered`.
    ///
    /// - Parameters:
    ///   - refused: some of the tokens whose pushes were refused because of the credential; empty: none was.
    ///   - good: the number of pushes that APNs answered otherwise.
    ///   - isProven: whether enough answers show that the credential is at fault and not the pushes.
    package mutating func record(
        refused: DistinctTokens, cause: APNSReason, good: Int, isProven: Bool = false, now: Duration, jitter: Double
    ) -> Change? {
        switch state {
        case .accepted:
            if good > 0 { tokens = DistinctTokens() }
            guard !refused.isEmpty else { return nil }
            self.cause = cause
            tokens.formUnion(refused)
            if good == 0, tokens.count > 1, !isProven { return refuse(now: now, jitter: jitter) }
            let isRecent = checkedAt.map { now - $0 < settings.recheckAfter } ?? false
            if !isRecent || tokens.count > 1 { startCheck(now: now) }
            return nil
        case .checking:
            guard !refused.isEmpty else { return nil }
            self.cause = cause
            tokens.formUnion(refused)
            // Pushes that were in flight. With a good answer among them only the check decides.
            return good == 0 && tokens.count > 1 && probe == nil ? refuse(now: now, jitter: jitter) : nil
        case .refused: return nil
        }
    }

    private mutating func startCheck(now: Duration) {
        state = .checking
        checkingSince = now
        probe = nil
    }

    private mutating func refuse(now: Duration, jitter: Double) -> Change? {
        state = .refused
        refusedSince = now
        interval = settings.probeBase
        probe = nil
        scheduleProbe(now: now, jitter: jitter)
        return .refused
    }

    private mutating func scheduleProbe(now: Duration, jitter: Double) {
        if now - refusedSince >= settings.quickTime { interval = min(interval * 2, settings.probeCap) }
        nextProbeAt = now + interval * (0.5 + jitter / 2)
    }

    // MARK: Probes

    /// Whether a push may be sent now to test the credential.
    package func isProbeDue(token: UInt64, now: Duration) -> Bool {
        guard probe == nil else { return false }
        switch state {
        case .accepted: return false
        case .checking: return !tokens.contains(token) || now - checkingSince >= settings.sameTokenAfter
        case .refused: return nextProbeAt <= now || tokens.count < 2 && !tokens.contains(token)
        }
    }

    /// Whether a push to this token was one of the last probes, so that a push to another one is the better probe: the
    /// token may be at fault and not the app.
    package func wasProbed(token: UInt64) -> Bool { state != .accepted && probedTokens.contains(token) }

    /// Whether a check or probe is outstanding.
    package var isProbing: Bool { probe != nil }
    package func isProbing(_ ticket: UInt64) -> Bool { probe?.ticket == ticket }

    /// The time until the next probe is due; nil if the credential is accepted.
    package func timeUntilProbe(now: Duration) -> Duration? {
        switch state {
        case .accepted: nil
        case .checking: .zero
        case .refused: max(.zero, nextProbeAt - now)
        }
    }

    /// Records that one push is sent to test the credential, under a ticket of its own.
    package mutating func probe(_ ticket: UInt64, token: UInt64, now: Duration) {
        precondition(state != .accepted && probe == nil, "a probe while \(state)")
        probe = Probe(ticket: ticket, token: token, sentAt: now)
        probedTokens.append(token)
        if probedTokens.count > Self.probedTokensMax { probedTokens.removeFirst() }
    }

    /// Records the answer to a probe. Ignored unless it is outstanding.
    ///
    /// - Parameters:
    ///   - result: `failed` if APNs refused the credential, `good` if it decided on the push.
    ///   - cause: the reason of the refusal.
    package mutating func probeAnswered(
        _ ticket: UInt64, _ result: ProbeResult, cause: APNSReason = .none, now: Duration, jitter: Double
    ) -> Change? {
        guard let probe, probe.ticket == ticket else { return nil }
        self.probe = nil
        switch result {
        case .void:
            if state == .refused { scheduleProbe(now: now, jitter: jitter) }
            return nil
        case .good:
            let change: Change = state == .refused ? .accepted : .checked
            state = .accepted
            tokens = DistinctTokens()
            checkedAt = now
            return change
        case .failed:
            self.cause = cause
            tokens.insert(probe.token)
            if state == .checking { return refuse(now: now, jitter: jitter) }
            scheduleProbe(now: now, jitter: jitter)
            return nil
        }
    }

    /// Applies the passage of time: a probe without an answer is void.
    package mutating func advance(now: Duration, jitter: Double) {
        guard let probe, now - probe.sentAt >= settings.probeTimeout else { return }
        _ = probeAnswered(probe.ticket, .void, now: now, jitter: jitter)
    }
}
