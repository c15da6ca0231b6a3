/// Limits how many pushes that may have reached APNs are sent again, so that retries never dominate the load.
///
/// One token permits one such retry. Tokens accrue with time, with first sends, and with successful retries. A
/// successful retry shows that APNs has recovered and earns two tokens, so that a backlog of retries drains in seconds.
///
/// Each app of an APNs endpoint has a budget: tokens for its own first sends and successes, and an equal share of the
/// tokens that accrue with time, among the apps that have retries waiting. So no app can spend the tokens of another.
///
/// Pure: the caller passes the time of the monotonic clock.
package struct RetryBudget: Sendable, Equatable {
    package struct Settings: Sendable, Equatable {
        /// Tokens per first send.
        package var share = 0.1
        /// How long first sends and successes count.
        package var window: Duration = .seconds(10)
        package var perSecond = 10.0
        package var burst = 100.0
        package var perSuccess = 2.0
        /// The most tokens that successes can accumulate.
        package var earnedMax = 4_000.0

        package init() {}
    }

    private let settings: Settings
    private var tokens: Double
    private var refilledAt: Duration = .zero
    private var firstSends: CallWindow
    private var lastSuccess: Duration?
    /// The number of budgets that share the tokens which accrue with time.
    private var sharers = 1.0

    package init(settings: Settings = Settings()) {
        self.settings = settings
        tokens = settings.burst
        firstSends = CallWindow(length: settings.window)
    }

    /// The most tokens that time and first sends can accumulate.
    private func limit(now: Duration) -> Double {
        part(settings.burst, least: 10) + settings.share * Double(firstSends.total(now: now).calls)
    }

    /// This budget's part of `whole`.
    ///
    /// - Parameter least: the minimum for any number of sharers, unless `whole` is less.
    private func part(_ whole: Double, least: Double) -> Double { max(whole / sharers, min(whole, least)) }

    private mutating func refill(now: Duration) {
        let limit = limit(now: now)
        let seconds = Double(max(0, (now - refilledAt).milliseconds)) / 1000
        if tokens < limit {
            tokens = min(limit, tokens + part(settings.perSecond, least: 1) * seconds)
        } else if lastSuccess.map({ now - $0 > settings.window }) ?? true {
            tokens = limit
        }
        refilledAt = max(refilledAt, now)
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
        tokens = max(tokens, min(limit(now: now), tokens + settings.share * Double(count)))
    }

    /// How many retries may be sent now.
    package mutating func available(now: Duration) -> Int {
        refill(now: now)
        return Int(tokens)
    }

    /// Spends tokens on retries that are sent.
    ///
    /// - Precondition: `count` is at most the result of `available`.
    package mutating func sentAgain(_ count: Int) {
        precondition(Double(count) <= tokens, "\(count) sends, \(tokens) tokens")
        tokens -= Double(count)
    }

    /// Records retries that succeeded.
    package mutating func succeeded(_ count: Int, now: Duration) {
        guard count > 0 else { return }
        refill(now: now)
        lastSuccess = now
        tokens = max(tokens, min(settings.earnedMax, tokens + settings.perSuccess * Double(count)))
    }
}
