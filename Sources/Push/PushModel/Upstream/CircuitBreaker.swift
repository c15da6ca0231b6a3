/// A circuit breaker: stops sending after failures, and sends probes until one succeeds.
///
/// Each app has one, and so has each APNs endpoint, shared by its apps. A single connection has none, because APNSKit
/// replaces a connection that is lost, stalled, or answers with errors only.
///
/// ```
///               open                    probe
///   closed ──────────────▶ open ──────────────────▶ halfOpen
///     ▲                     ▲                        │    │
///     │                     └── every probe failed, ─┘    │
///     │                         or is 3 s old             │
///     └───────── one good probe, however late ────────────┘
/// ```
///
/// - Closed: the owner opens the breaker when `isFailing`. Either at least half of the last 50 or more calls in ten
///   seconds failed, or every call since the last good one did, for at least a second: then three calls are enough, so
///   that the breaker of a quiet app opens too. A slow answer is a good one. A lost connection is one failed call,
///   however many pushes were lost with it.
/// - Open: a probe, which is one push, is sent every second in the first minute and a half of an outage, and every five
///   seconds later. Probes overlap and have the request timeout of any other push, so that an APNs that answers slowly is
///   not shut out.
/// - After the first good probe, sends are limited by a `SendRamp` until the backlog is gone. The same applies after a
///   suspension for another cause, for example a refused credential.
///
/// While at most one token, or one app of several, has failed, a push to another one may be a probe immediately: a
/// single bad push delays no other for long.
///
/// Pure: the caller passes the time of the monotonic clock and the random samples.
package struct CircuitBreaker: Sendable, Equatable {
    package struct Settings: Sendable, Equatable {
        package var window: Duration = .seconds(10)
        /// With fewer calls in the window, their share of failures does not count.
        package var callsMin = 50
        package var failedShare = 0.5
        /// The number of calls without a good one between them that open the breaker, if the first and the last of
        /// them are `runTime` apart.
        package var runMin = 3
        package var runTime: Duration = .seconds(1)
        /// The longest time to the first probe, and between probes in the first `quickTime` of an outage.
        package var openBase: Duration = .seconds(1)
        package var quickTime: Duration = .seconds(90)
        /// The longest time between probes later.
        package var openCap: Duration = .seconds(5)
        /// The age at which an unanswered probe no longer holds the breaker half open. Its answer still counts.
        package var probeDecisionTime: Duration = .seconds(3)
        /// How long an answer to a probe is waited for; above the longest time that the APNs client takes.
        package var probeTimeout: Duration = .seconds(30)

        package init() {}
    }

    package enum Scope: Sendable {
        case endpoint
        /// Failures of a single token do not open it: the token is at fault, because others of the endpoint do well.
        case app
    }

    package enum State: UInt8, Sendable {
        case closed = 0
        case halfOpen = 1
        case open = 2
    }

    package enum Change: Sendable, Equatable {
        /// Reported for the first probe of an outage only.
        case halfOpened
        case closed
        case opened
    }

    /// Calls that failed, with no good one between them.
    private struct FailureRun: Sendable, Equatable {
        var calls = 0
        var first: Duration = .zero
        var last: Duration = .zero
        var tokens = DistinctTokens()
        /// Up to two apps.
        var apps: [Int] = []
        /// The same, of lost connections.
        var appsWithoutConnection: [Int] = []

        mutating func add(calls: Int, tokens: DistinctTokens, app: Int, isLost: Bool = false, now: Duration) {
            if self.calls == 0 { first = now }
            self.calls += calls
            last = now
            self.tokens.formUnion(tokens)
            if apps.count < 2, !apps.contains(app) { apps.append(app) }
            if isLost, appsWithoutConnection.count < 2, !appsWithoutConnection.contains(app) {
                appsWithoutConnection.append(app)
            }
        }

        /// Whether at most one other token, or one other app, has failed.
        func mayBeUnaffected(token: UInt64, app: Int) -> Bool {
            guard calls > 0 else { return false }
            return tokens.count < 2 && !tokens.contains(token) || apps.count < 2 && !apps.contains(app)
        }
    }

    private struct Probe: Sendable, Equatable {
        var ticket: UInt64
        var token: UInt64
        var app: Int
        var sentAt: Duration
    }

    package let settings: Settings
    private let scope: Scope
    package private(set) var state = State.closed
    /// The code of the last failure since the breaker was closed.
    package private(set) var cause = ErrorCode.none
    private var window: CallWindow
    private var run = FailureRun()
    /// When a lost connection was last counted.
    private var lostAt: Duration?
    private var closedAt: Duration?
    private var openedAt: Duration = .zero
    /// Since when the breaker opens again and again, without having been closed for a whole window.
    private var outageSince: Duration = .zero
    /// Since when calls have failed, the time before the first failure was known included.
    private var failingSince: Duration = .zero
    private var nextProbeAt: Duration = .zero
    private var hasProbed = false
    private var probes: [Probe] = []
    /// The tokens of the last probes.
    private var probedTokens: [UInt64] = []
    private static let probedTokensMax = 64

    /// Good calls; read as of the last one, so that an outage does not lower the rate.
    private var goodWindow: CallWindow
    private var flowSince: Duration = .zero
    private var lastGoodAt: Duration?
    /// Good calls per second before the outage.
    private var rateBefore: Double?
    private var ramp: SendRamp?
    /// Since when sending is suspended for another cause than failed calls: the last good call before.
    private var suspendedSince: Duration?

    package init(settings: Settings = Settings(), scope: Scope = .endpoint) {
        self.settings = settings
        self.scope = scope
        window = CallWindow(length: settings.window)
        goodWindow = CallWindow(length: settings.window)
    }

    // MARK: Closed

    /// How long all lost connections count as one: the client reports the pushes of a connection in one turn, but
    /// batch by batch.
    private static let lossWindow: Duration = .milliseconds(250)

    /// Counts calls of an app. Ignored unless the breaker is closed: late answers of earlier calls say nothing about
    /// recovery.
    package mutating func record(_ report: CallReport, app: Int = 0, now: Duration) {
        guard state == .closed else { return }
        var failed = report.failed
        if report.lost > 0, lostAt.map({ now - $0 >= Self.lossWindow }) ?? true {
            lostAt = now
            failed += 1
        }
        // The same connection may be that of another app.
        if failed == 0, report.lost > 0, report.good == 0 {
            run.add(calls: 0, tokens: .init(), app: app, isLost: true, now: now)
        }
        guard report.good + failed > 0 else { return }
        window.add(CallTally(calls: report.good + failed, failed: failed), now: now)
        if failed > 0 { cause = report.cause }
        if report.good > 0 {
            recordGood(report.good, now: now)
        } else {
            run.add(calls: failed, tokens: report.failedTokens, app: app, isLost: report.lost > 0, now: now)
        }
    }

    private mutating func recordGood(_ count: Int, now: Duration) {
        run = FailureRun()
        if lastGoodAt.map({ now - $0 >= settings.window }) ?? true { flowSince = now }
        lastGoodAt = now
        goodWindow.add(CallTally(calls: count), now: now)
    }

    /// Whether the breaker is closed and should be opened.
    package func isFailing(now: Duration) -> Bool {
        guard state == .closed else { return false }
        let total = window.total(now: now)
        if total.calls >= settings.callsMin, Double(total.failed) >= settings.failedShare * Double(total.calls) {
            return true
        }
        return run.calls >= settings.runMin && run.last - run.first >= settings.runTime
            && (scope == .endpoint || run.tokens.count >= settings.runMin)
    }

    /// Whether several apps have lost their connections, and no call of any app was good for a while. Then an app whose
    /// last call was good has made none since.
    package var isWithoutConnection: Bool {
        run.appsWithoutConnection.count > 1 && run.calls >= settings.runMin && run.last - run.first >= settings.runTime
    }

    /// Whether the last call was good, and recent.
    package func isHealthy(now: Duration) -> Bool {
        guard state == .closed, run.calls == 0, let lastGoodAt else { return false }
        return now - lastGoodAt < settings.window
    }

    /// How long a good call shows that others of the endpoint succeed.
    private static let successLifetime: Duration = .seconds(60)

    package func health(now: Duration) -> UpstreamHealth {
        if state != .closed { return .failing }
        return lastGoodAt.map { now - $0 < Self.successLifetime } ?? false ? .succeeding : .unknown
    }

    /// Closes the breaker and clears what it has counted, because the failures belong to another breaker.
    package mutating func reset() {
        state = .closed
        run = FailureRun()
        window.clear()
        probes = []
        ramp = nil
    }

    // MARK: Open

    /// - Parameter jitter: a uniform random sample in 0..<1.
    package mutating func open(now: Duration, jitter: Double) {
        let isSameOutage = closedAt.map { now - $0 < settings.window } ?? false
        if !isSameOutage {
            outageSince = now
            let firstFailure = run.calls > 0 ? run.first : now
            // A call may fail long after it was sent. The last good one may be older than the outage.
            failingSince = max(lastGoodAt ?? firstFailure, firstFailure - settings.probeTimeout)
        }
        // A breaker that opens again and again must not lower the rate each time.
        rateBefore = isSameOutage ? maxOf(rateBefore, goodRate) : goodRate
        state = .open
        openedAt = now
        hasProbed = false
        probes = []
        probedTokens = []
        ramp = nil
        window.clear()
        // Opened by the share of failures: other calls succeeded, so no single token or app is the cause.
        if run.calls < settings.runMin { run = FailureRun() }
        scheduleProbe(now: now, jitter: jitter)
    }

    private mutating func scheduleProbe(now: Duration, jitter: Double) {
        let longest = now - outageSince < settings.quickTime ? settings.openBase : settings.openCap
        nextProbeAt = now + longest * (0.8 + 0.2 * jitter)
    }

    /// Good calls per second at the time of the last one; nil if there was none.
    private var goodRate: Double? {
        guard let lastGoodAt else { return nil }
        let seconds = (lastGoodAt - flowSince).secondsAsDouble
        return Double(goodWindow.total(now: lastGoodAt).calls)
            / min(max(seconds, 1), settings.window.secondsAsDouble)
    }

    /// How long no probe may be sent; nil if the breaker is closed.
    package func timeUntilProbe(now: Duration) -> Duration? {
        state == .closed ? nil : max(.zero, nextProbeAt - now)
    }

    /// The last failure; nil if the breaker is closed.
    package var outageCause: ErrorCode? { state == .closed ? nil : cause }

    /// Since when a probe is due for any push; negative while none is.
    package func probeOverdue(now: Duration) -> Duration { now - nextProbeAt }

    /// Whether a push may be sent as a probe now. Always false while the breaker is closed.
    package func isProbeDue(token: UInt64, app: Int = 0, now: Duration) -> Bool {
        guard state != .closed else { return false }
        if nextProbeAt <= now { return true }
        let isOtherOutstanding = probes.contains { run.mayBeUnaffected(token: $0.token, app: $0.app) }
        return !isOtherOutstanding && run.mayBeUnaffected(token: token, app: app)
    }

    /// Whether a push to this token was one of the last probes, so that a push to another one is the better probe: if
    /// APNs processes pushes and does not answer, no device gets many duplicates.
    package func wasProbed(token: UInt64) -> Bool { probedTokens.contains(token) }

    /// Records that one push is sent as a probe, under a ticket of its own.
    ///
    /// - Precondition: the breaker is not closed.
    package mutating func probe(
        _ ticket: UInt64, token: UInt64, app: Int = 0, now: Duration, jitter: Double
    ) -> Change? {
        precondition(state != .closed, "a probe while closed")
        probes.append(Probe(ticket: ticket, token: token, app: app, sentAt: now))
        probedTokens.append(token)
        if probedTokens.count > Self.probedTokensMax { probedTokens.removeFirst() }
        scheduleProbe(now: now, jitter: jitter)
        state = .halfOpen
        defer { hasProbed = true }
        return hasProbed ? nil : .halfOpened
    }

    /// Records the answer to a probe. Ignored unless the probe is outstanding.
    package mutating func probeAnswered(_ ticket: UInt64, _ result: ProbeResult, now: Duration) -> Change? {
        guard state != .closed, let index = probes.firstIndex(where: { $0.ticket == ticket }) else { return nil }
        let probe = probes.remove(at: index)
        switch result {
        case .good:
            close(now: now)
            return .closed
        case .failed(let code):
            cause = code
            var tokens = DistinctTokens()
            tokens.insert(probe.token)
            run.add(calls: 1, tokens: tokens, app: probe.app, now: now)
        case .void: break
        }
        updateState(now: now)
        return nil
    }

    /// Whether the probe is outstanding.
    package func isProbing(_ ticket: UInt64) -> Bool { probes.contains { $0.ticket == ticket } }

    private mutating func close(now: Duration) {
        state = .closed
        closedAt = now
        probes = []
        recordGood(1, now: now)
        ramp = SendRamp(rateBefore: rateBefore, outage: now - failingSince, now: now)
    }

    /// Applies the passage of time.
    package mutating func advance(now: Duration) {
        guard state != .closed else {
            if let limit = ramp, limit.isOver(now: now) { ramp = nil }
            return
        }
        probes.removeAll { now - $0.sentAt >= settings.probeTimeout }
        updateState(now: now)
    }

    private mutating func updateState(now: Duration) {
        state = probes.contains { now - $0.sentAt < settings.probeDecisionTime } ? .halfOpen : .open
    }

    // MARK: Ramp

    /// Sending stops for another cause than failed calls.
    package mutating func suspended(now: Duration) {
        guard state == .closed else { return }
        rateBefore = goodRate
        suspendedSince = lastGoodAt ?? now
    }

    /// Sending may begin again. The backlog of the suspension is sent as after an outage.
    package mutating func resumed(now: Duration) {
        guard let since = suspendedSince else { return }
        suspendedSince = nil
        // Otherwise the ramp begins when the breaker closes.
        if state == .closed { ramp = SendRamp(rateBefore: rateBefore, outage: now - since, now: now) }
    }

    /// Whether sends are limited because the breaker was closed recently.
    package var isRamping: Bool { ramp != nil }

    /// The limit in pushes per second; nil if there is none.
    package func rampRate(now: Duration) -> Double? { ramp?.rate(now: now) }

    /// How many of `wanted` pushes the ramp allows now.
    package mutating func capacity(for wanted: Int, now: Duration) -> Int {
        ramp?.capacity(for: wanted, now: now) ?? wanted
    }

    /// Records pushes that are sent while the breaker is closed.
    package mutating func sent(_ count: Int) { ramp?.sent(count) }
}

private func maxOf(_ a: Double?, _ b: Double?) -> Double? {
    guard let a, let b else { return a ?? b }
    return max(a, b)
}
