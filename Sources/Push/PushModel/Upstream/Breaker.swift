/// Stops sending where most calls fail, and tries with a few whether it is over. Pure: it is told the moment, by the
/// monotonic clock.
///
/// There is one for each app and one for each environment, which is what the apps with one APNs endpoint share. A single
/// connection has none: APNSKit replaces it when it is lost, stalled, or answers with errors only.
///
/// Closed, it watches a window of calls and says whether they fail; whoever owns it opens it. Open, it lets nothing
/// through. After a while it is half open: a few probes may go, each with its own deadline. If enough of them are good it
/// closes, else it opens again for twice as long. A probe of which nothing is heard is a bad one, so half open always
/// ends.
package struct Breaker: Sendable, Equatable {
    package struct Settings: Sendable, Equatable {
        package var window: Duration = .seconds(10)
        /// Fewer calls than this in the window prove nothing.
        package var callsMin = 50
        package var failedShare = 0.5
        package var slowShare = 0.5
        /// An answer that takes longer is slow.
        package var slowAfter: Duration = .seconds(5)
        /// Open for half of this to all of it the first time, then twice as long each time, up to `openCap`.
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

    /// Pushes sent as probes in one batch.
    private struct Probe: Sendable, Equatable {
        var ticket: UInt64
        var group: Int
        var open: Int
        var deadline: Duration
    }

    private struct Group: Sendable, Equatable {
        /// Since nothing was last outstanding.
        var issued = 0
        var good = 0
        var bad = 0
    }

    package let settings: Settings
    package private(set) var state = State.closed
    private var window: CallWindow
    private var openUntil: Duration = .zero
    /// Without having been closed for a while in between.
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

    /// Counts calls; those that come while it is not closed are stragglers and prove nothing.
    package mutating func record(_ tally: CallTally, now: Duration) {
        if state == .closed { window.add(tally, now: now) }
    }

    /// Whether it should open.
    package func isFailing(now: Duration) -> Bool {
        let total = window.total(now: now)
        return state == .closed && total.calls >= settings.callsMin && isBad(total)
    }

    /// Whether the calls of the window show that APNs can be reached: ten of them that are not failing, or a few without
    /// a fault.
    package func isHealthy(now: Duration) -> Bool {
        let total = window.total(now: now)
        guard state == .closed, total.calls > 0 else { return false }
        return total.calls >= 10 ? !isBad(total) : total.good == total.calls
    }

    private func isBad(_ total: CallTally) -> Bool {
        Double(total.failed) >= settings.failedShare * Double(total.calls)
            || Double(total.slow) >= settings.slowShare * Double(total.calls)
    }

    /// Forgets the window, because what is in it was somebody else's fault.
    package mutating func forgive() { window.clear() }

    // MARK: Open

    /// - Parameter draw: 0..<1, uniformly random.
    package mutating func open(now: Duration, draw: Double) {
        if let closedAt, now - closedAt >= settings.window { openings = 0 }
        let longest = min(settings.openCap, settings.openBase * Double(1 << min(openings, 20)))
        openUntil = now + longest * (0.5 + draw / 2)
        openings += 1
        state = .open
        window.clear()
        endTrial()
    }

    /// How long it stays open; nil when it is not.
    package func opensFor(now: Duration) -> Duration? { state == .open ? max(.zero, openUntil - now) : nil }

    // MARK: Half open

    /// Lets time pass.
    package mutating func advance(now: Duration, draw: Double) -> Change {
        switch state {
        case .closed: return .none
        case .open:
            guard openUntil <= now else { return .none }
            state = .halfOpen
            return .halfOpened
        case .halfOpen:
            guard outstanding.contains(where: { $0.deadline <= now }) else { return .none }
            for probe in outstanding where probe.deadline <= now { count(good: 0, bad: probe.open, of: probe.group) }
            outstanding.removeAll { $0.deadline <= now }
            return judge(now: now, draw: draw)
        }
    }

    /// How many probes `group` may send now.
    ///
    /// - Parameter isShared: others may have something to send, too. Then one group gets half of the probes before it is
    ///   the others' turn, and a group all of whose probes are good proves that the fault is not common to all.
    package func probesLeft(for group: Int = 0, isShared: Bool = false) -> Int {
        guard state == .halfOpen else { return 0 }
        let share = (isShared ? max(1, settings.probes / 2) : settings.probes) - (groups[group]?.issued ?? 0)
        return max(0, min(settings.probes - issued, share))
    }

    /// The batch `ticket` takes `count` pushes along as probes.
    package mutating func probe(_ ticket: UInt64, count: Int, group: Int = 0, now: Duration) {
        precondition(state == .halfOpen && count > 0, "a probe while \(state)")
        outstanding.append(Probe(ticket: ticket, group: group, open: count, deadline: now + settings.probeTimeout))
        groups[group, default: Group()].issued += count
        issued += count
    }

    /// Probes were answered. What is not a probe of now, or is too late, changes nothing.
    ///
    /// - Parameter void: those that were not sent after all; others may go in their place.
    package mutating func answered(
        _ ticket: UInt64, good: Int, bad: Int, void: Int = 0, isShared: Bool = false, now: Duration, draw: Double
    ) -> Change {
        guard state == .halfOpen, let place = outstanding.firstIndex(where: { $0.ticket == ticket }) else {
            return .none
        }
        let group = outstanding[place].group
        outstanding[place].open -= good + bad + void
        if outstanding[place].open <= 0 { outstanding.remove(at: place) }
        issued -= void
        groups[group]!.issued -= void
        count(good: good, bad: bad, of: group)
        return judge(now: now, draw: draw, isShared: isShared)
    }

    private mutating func count(good: Int, bad: Int, of group: Int) {
        self.good += good
        self.bad += bad
        groups[group, default: Group()].good += good
        groups[group, default: Group()].bad += bad
    }

    private mutating func judge(now: Duration, draw: Double, isShared: Bool = false) -> Change {
        let proof = max(1, settings.probes / 2 - 1)
        let isProven = isShared && groups.values.contains { $0.bad == 0 && $0.good >= proof }
        if good >= settings.probesGood || isProven {
            state = .closed
            closedAt = now
            endTrial()
            return .closed
        }
        guard outstanding.isEmpty else { return .none }
        if bad > settings.probes - settings.probesGood || issued >= settings.probes {
            open(now: now, draw: draw)
            return .opened
        }
        // Nothing is proven yet: whoever has something to send goes on.
        for group in groups.keys { groups[group]!.issued = 0 }
        return .none
    }

    private mutating func endTrial() {
        issued = 0
        good = 0
        bad = 0
        groups.removeAll()
        outstanding.removeAll()
    }

    /// Half open, and some probes were good and none was bad.
    package var isPromising: Bool { state == .halfOpen && good > 0 && bad == 0 }
}
