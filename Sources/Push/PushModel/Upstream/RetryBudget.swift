/// Limits how many pushes that may have reached APNs are sent again, so that retries never dominate the load.
///
/// Attempts that are not counted, because the upstream was failing, are among them. Probes of a breaker spend tokens and do
/// not wait for them. One token permits one such retry. There are two kinds:
///
/// - Allowance: accrues with time and with first sends. In any 30 seconds it permits at most `share` of the first sends
///   plus `perSecond` for each second, bursts included.
/// - Earned tokens: while APNs is well, a retry that succeeds earns `perSuccess` tokens, so that a backlog of retries
///   drains in seconds. APNs is well while less than `share` of the answers of the last seconds are failures. When it is
///   not, the earned tokens are void: in a partial outage successes say nothing about recovery.
///
/// Each app of an APNs endpoint has a budget: tokens for its own first sends and successes, and an equal share of the
/// tokens that accrue with time, among the apps that have retries waiting. So no app can spend the tokens of another.
///
/// Pure: the caller passes the time of the monotonic clock.
package struct RetryBudget: Sendable, Equatable {
    package struct Settings: Sendable, Equatable {
        /// Tokens per first send; also the part of failures from which on APNs is not well.
        package var share = 0.1
        /// How long first sends count for a burst.
        package var window: Duration = .seconds(10)
        package var perSecond = 10.0
        package var burst = 100.0
        package var perSuccess = 2.0
        /// The most tokens that successes can accumulate.
        package var earnedMax = 4_000.0

        package init() {}
    }

    /// The period over which the allowance is bounded.
    private static let boundSeconds = 30.0
    /// The answers that show whether APNs is well: those of this time, and at least this many.
    private static let evidenceWindow: Duration = .seconds(3)
    private static let evidenceMin = 20

    private let settings: Settings
    /// The allowance that has accrued.
    private var allowance: Double
    private var earned = 0.0
    private var refilledAt: Duration = .zero
    private var lastSuccess: Duration?
    private var firstSends: CallWindow
    /// First sends of at most the last 30 seconds.
    private var firstSendsInBound = CallWindow(length: .seconds(boundSeconds))
    /// Retries out of the allowance, of at least the last 30 seconds: the window has ten parts, of which the oldest one
    /// is incomplete.
    private var retriesInBound = CallWindow(length: .seconds(boundSeconds * 10 / 9))
    private var answers = CallWindow(length: evidenceWindow)
    /// The number of budgets that share the tokens which accrue with time.
    private var sharers = 1.0

    package init(settings: Settings = Settings()) {
        self.settings = settings
        allowance = settings.burst
        firstSends = CallWindow(length: settings.window)
    }

    /// The most that the allowance can accumulate.
    private func limit(now: Duration) -> Double {
        part(settings.burst, least: 10) + settings.share * Double(firstSends.total(now: now).calls)
    }

    /// This budget's part of `whole`.
    ///
    /// - Parameter least: the minimum for any number of sharers, unless `whole` is less.
    private func part(_ whole: Double, least: Double) -> Double { max(whole / sharers, min(whole, least)) }

    private var perSecond: Double { part(settings.perSecond, least: 1) }

    private mutating func refill(now: Duration) {
        let seconds = Double(max(0, (now - refilledAt).milliseconds)) / 1000
        allowance = min(limit(now: now), allowance + perSecond * seconds)
        refilledAt = max(refilledAt, now)
        if earned > 0, !isWell(now: now) || lastSuccess.map({ now - $0 > settings.window }) ?? true { earned = 0 }
    }

    /// How many retries the bound still permits.
    private func bound(now: Duration) -> Double {
        settings.share * Double(firstSendsInBound.total(now: now).calls) + perSecond * Self.boundSeconds
            - Double(retriesInBound.total(now: now).calls)
    }

    /// Whether the answers of the last seconds show that APNs is well.
    private func isWell(now: Duration) -> Bool {
        let total = answers.total(now: now)
        return total.calls >= Self.evidenceMin && Double(total.failed) < settings.share * Double(total.calls)
    }

    /// Sets the number of budgets that share the tokens which accrue with time.
    package mutating func share(among count: Int, now: Duration) {
        refill(now: now)
        sharers = Double(max(1, count))
    }

    /// Records pushes that were sent for the first time.
    package mutating func sentFirst(_ count: Int, now: Duration) {
        guard count > 0 else { return }
        refill(now: now)
        firstSends.add(CallTally(calls: count), now: now)
        firstSendsInBound.add(CallTally(calls: count), now: now)
        allowance = min(limit(now: now), allowance + settings.share * Double(count))
    }

    /// How many retries may be sent now.
    package mutating func available(now: Duration) -> Int {
        refill(now: now)
        return Int(max(0, min(allowance, bound(now: now))) + earned)
    }

    /// Spends tokens on retries that are sent.
    ///
    /// - Precondition: `count` is at most the result of `available`.
    package mutating func sentAgain(_ count: Int, now: Duration) {
        guard count > 0 else { return }
        precondition(Double(count) <= max(0, allowance) + earned, "\(count) sends, \(allowance) and \(earned) tokens")
        let ofAllowance = max(0, Double(count) - earned)
        earned = max(0, earned - Double(count))
        allowance -= ofAllowance
        retriesInBound.add(CallTally(calls: Int(ofAllowance.rounded(.up))), now: now)
    }

    /// Records a retry that is sent as a probe. It need not be available, so it may leave a debt, which later retries wait
    /// for.
    package mutating func sentProbe(now: Duration) {
        refill(now: now)
        allowance = max(allowance - 1, -settings.burst)
        retriesInBound.add(CallTally(calls: 1), now: now)
    }

    /// Records answers to first sends and retries.
    ///
    /// - Parameters:
    ///   - final: answers that settle their push.
    ///   - failed: answers, or missing ones, after which the push is to be sent again within the budget.
    ///   - recovered: those of `final` that answer a retry.
    package mutating func answered(final: Int, failed: Int, recovered: Int, now: Duration) {
        answers.add(CallTally(calls: final + failed, failed: failed), now: now)
        guard recovered > 0 else { return }
        lastSuccess = now
        if isWell(now: now) { earned = min(settings.earnedMax, earned + settings.perSuccess * Double(recovered)) }
    }
}
