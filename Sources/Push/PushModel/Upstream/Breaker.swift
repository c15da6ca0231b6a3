/// A circuit breaker: stops sending after failures, and probes until calls succeed again.
///
/// Each app has one, and so has each APNs endpoint, shared by its apps. A single connection has none, because APNSKit
/// replaces a connection that is lost, stalled, or answers with errors only.
///
/// ```
///            open(now:jitter:)                openUntil passed
///   closed ────────────────────▶ open ────────────────────────▶ halfOpen
///     ▲                           ▲                                │  │
///     │                           └──── probes failed or timed out ┘  │
///     └──────────────── enough probes succeeded ──────────────────────┘
/// ```
///
/// - Closed: counts calls in a sliding window. `isFailing` reports when too many fail or are slow; the owner then opens
///   the breaker.
/// - Open: no call is allowed. The duration doubles each time until the breaker has been closed for a full window.
/// - Half open: a limited number of pushes is sent as probes, each with a deadline. A probe without an answer counts as
///   failed, so the state always ends.
///
/// Pure: the caller passes the time of the monotonic clock and the random samples.
package struct Breaker: Sendable, Equatable {
    package struct Settings: Sendable, Equatable {
        package var window: Duration = .seconds(10)
        /// The breaker stays closed if the window has fewer calls than this.
        package var callsMin = 50
        package var failedShare = 0.5
        package var slowShare = 0.5
        /// An answer that arrives later than this is slow.
        package var slowAfter: Duration = .seconds(5)
        /// The longest first open period; the shortest is half of it. Both double each time, up to `openCap`.
        package var openBase: Duration = .seconds(5)
        package var openCap: Duration = .seconds(60)
        package var probes = 10
        package var probesGood = 8
        package var probeTimeout: Duration = .seconds(5)

        package init() {}
    }

    package enum State: UInt8, Sendable {
        case closed = 0
        case halfOpen = 1
        case open = 2
    }

    package enum Change: Sendable, Equatable {
        case none, halfOpened, closed, opened
    }

    /// Pushes of one batch that were sent as probes.
    private struct Probe: Sendable, Equatable {
        var ticket: UInt64
        /// The index of the app that sent them; always 0 in an app's own breaker.
        var group: Int
        var unanswered: Int
        var deadline: Duration
    }

    /// The probes of one app. The answers count for the whole half-open period.
    private struct Group: Sendable, Equatable {
        /// Probes sent in this round; a round ends when none is outstanding.
        var issued = 0
        var good = 0
        var bad = 0
    }

    package let settings: Settings
    package private(set) var state = State.closed
    private var window: CallWindow
    private var openUntil: Duration = .zero
    /// How often the breaker opened since it was last closed for a full window.
    private var openings = 0
    private var closedAt: Duration?
    private var issued = 0
    private var good = 0
    private var bad = 0
    private var groups: [Int: Group] = [:]
    private var outstanding: [Probe] = []

    package init(settings: Settings = Settings()) {
        self.settings = settings
        window = CallWindow(length: settings.window)
    }

    // MARK: Closed

    /// Counts calls. Ignored unless the breaker is closed: late answers of earlier calls say nothing about recovery.
    package mutating func record(_ tally: CallTally, now: Duration) {
        if state == .closed { window.add(tally, now: now) }
    }

    /// Whether the breaker is closed and should be opened.
    package func isFailing(now: Duration) -> Bool {
        let total = window.total(now: now)
        return state == .closed && total.calls >= settings.callsMin && isBad(total)
    }

    /// Whether the window shows that APNs is reachable: at least ten calls that are not failing, or fewer without any
    /// failure.
    package func isHealthy(now: Duration) -> Bool {
        let total = window.total(now: now)
        guard state == .closed, total.calls > 0 else { return false }
        return total.calls >= 10 ? !isBad(total) : total.good == total.calls
    }

    private func isBad(_ total: CallTally) -> Bool {
        Double(total.failed) >= settings.failedShare * Double(total.calls)
            || Double(total.slow) >= settings.slowShare * Double(total.calls)
    }

    /// Clears the window, because its failures belong to another breaker.
    package mutating func clearWindow() { window.clear() }

    // MARK: Open

    /// Opens the breaker for half to all of the current open period.
    ///
    /// - Parameter jitter: a uniform random sample in 0..<1.
    package mutating func open(now: Duration, jitter: Double) {
        if let closedAt, now - closedAt >= settings.window { openings = 0 }
        let longest = min(settings.openCap, settings.openBase * Double(1 << min(openings, 20)))
        openUntil = now + longest * (0.5 + jitter / 2)
        openings += 1
        state = .open
        window.clear()
        clearProbes()
    }

    /// How long the breaker stays open; nil if it is not open.
    package func remainingOpenTime(now: Duration) -> Duration? {
        state == .open ? max(.zero, openUntil - now) : nil
    }

    // MARK: Half open

    /// Applies the passage of time: ends the open period, and fails probes whose deadline has passed.
    package mutating func advance(now: Duration, jitter: Double) -> Change {
        switch state {
        case .closed: return .none
        case .open:
            guard openUntil <= now else { return .none }
            state = .halfOpen
            return .halfOpened
        case .halfOpen:
            guard outstanding.contains(where: { $0.deadline <= now }) else { return .none }
            for probe in outstanding where probe.deadline <= now {
                count(good: 0, bad: probe.unanswered, of: probe.group)
            }
            outstanding.removeAll { $0.deadline <= now }
            return evaluateProbes(now: now, jitter: jitter)
        }
    }

    /// How many probes `group` may send now.
    ///
    /// - Parameter isShared: whether other groups may also send. Each group then gets half of the probes, and one group
    ///   with good probes and no bad one can close the breaker: the cause is not common to all groups.
    package func probesLeft(for group: Int = 0, isShared: Bool = false) -> Int {
        guard state == .halfOpen else { return 0 }
        let share = (isShared ? max(1, settings.probes / 2) : settings.probes) - (groups[group]?.issued ?? 0)
        return max(0, min(settings.probes - issued, share))
    }

    /// Records that `count` pushes of the batch `ticket` are sent as probes.
    ///
    /// - Precondition: the breaker is half open, and `count` is at least 1.
    package mutating func probe(_ ticket: UInt64, count: Int, group: Int = 0, now: Duration) {
        precondition(state == .halfOpen && count > 0, "a probe while \(state)")
        outstanding.append(
            Probe(ticket: ticket, group: group, unanswered: count, deadline: now + settings.probeTimeout))
        groups[group, default: Group()].issued += count
        issued += count
    }

    /// Records the answers to probes. Ignored unless the probes of the batch `ticket` are outstanding.
    ///
    /// - Parameter void: probes that were not sent, so that other pushes can be probes instead.
    package mutating func answered(
        _ ticket: UInt64, good: Int, bad: Int, void: Int = 0, isShared: Bool = false, now: Duration, jitter: Double
    ) -> Change {
        guard state == .halfOpen, let index = outstanding.firstIndex(where: { $0.ticket == ticket }) else {
            return .none
        }
        let group = outstanding[index].group
        outstanding[index].unanswered -= good + bad + void
        if outstanding[index].unanswered <= 0 { outstanding.remove(at: index) }
        issued -= void
        groups[group]!.issued -= void
        count(good: good, bad: bad, of: group)
        return evaluateProbes(now: now, jitter: jitter, isShared: isShared)
    }

    private mutating func count(good: Int, bad: Int, of group: Int) {
        self.good += good
        self.bad += bad
        groups[group, default: Group()].good += good
        groups[group, default: Group()].bad += bad
    }

    private mutating func evaluateProbes(now: Duration, jitter: Double, isShared: Bool = false) -> Change {
        // One less than a group's share of the probes: a single missing answer does not delay the decision.
        let goodMin = max(1, settings.probes / 2 - 1)
        let hasHealthyGroup = isShared && groups.values.contains { $0.bad == 0 && $0.good >= goodMin }
        if good >= settings.probesGood || hasHealthyGroup {
            state = .closed
            closedAt = now
            clearProbes()
            return .closed
        }
        guard outstanding.isEmpty else { return .none }
        if bad > settings.probes - settings.probesGood || issued >= settings.probes {
            open(now: now, jitter: jitter)
            return .opened
        }
        // Inconclusive, with no probe outstanding: every group may send again.
        for group in groups.keys { groups[group]!.issued = 0 }
        return .none
    }

    private mutating func clearProbes() {
        issued = 0
        good = 0
        bad = 0
        groups.removeAll()
        outstanding.removeAll()
    }

    /// Whether the breaker is half open with good probes and no bad one.
    package var hasOnlyGoodProbes: Bool { state == .halfOpen && good > 0 && bad == 0 }
}
