/// How many pushes may be sent again that may have reached APNs before, so that retries never become the load. Pure: it is
/// told the moment, by the monotonic clock.
///
/// A token is one such push. Tokens come with time, with first sends, and with success: a push that was sent again and
/// answered well proves recovery and earns two, so that what an outage left behind does not take minutes.
///
/// An APNs host has one budget, and each of its apps a part of it: its own first sends and successes, and an equal share of
/// what comes with time among those that have something to send again. So no app can use up what another has earned.
package struct RetryBudget: Sendable, Equatable {
    package struct Settings: Sendable, Equatable {
        /// Of the first sends.
        package var share = 0.1
        /// How long first sends and successes count.
        package var window: Duration = .seconds(10)
        package var perSecond = 10.0
        package var burst = 100.0
        package var perSuccess = 2.0
        /// What successes can add up to.
        package var earnedMax = 4_000.0

        package init() {}
    }

    private let settings: Settings
    private var tokens: Double
    private var at: Duration = .zero
    private var firsts: CallWindow
    private var lastSuccess: Duration?
    /// Among how many what comes with time is divided.
    private var sharers = 1.0

    package init(settings: Settings = Settings()) {
        self.settings = settings
        tokens = settings.burst
        firsts = CallWindow(length: settings.window)
    }

    /// What time and first sends can add up to.
    private func limit(now: Duration) -> Double {
        part(settings.burst, least: 10) + settings.share * Double(firsts.total(now: now).calls)
    }

    /// - Parameter least: however many share it, unless the whole is less.
    private func part(_ whole: Double, least: Double) -> Double { max(whole / sharers, min(whole, least)) }

    private mutating func refill(now: Duration) {
        let limit = limit(now: now)
        let seconds = Double(max(0, (now - at).milliseconds)) / 1000
        if tokens < limit {
            tokens = min(limit, tokens + part(settings.perSecond, least: 1) * seconds)
        } else if lastSuccess.map({ now - $0 > settings.window }) ?? true {
            tokens = limit
        }
        at = max(at, now)
    }

    /// From now on the budget is one of so many.
    package mutating func share(among count: Int, now: Duration) {
        refill(now: now)
        sharers = Double(max(1, count))
    }

    /// Pushes were sent for the first time.
    package mutating func sentFirst(_ count: Int, now: Duration) {
        guard count > 0 else { return }
        refill(now: now)
        firsts.add(CallTally(calls: count), now: now)
        tokens = max(tokens, min(limit(now: now), tokens + settings.share * Double(count)))
    }

    /// How many may be sent again now.
    package mutating func available(now: Duration) -> Int {
        refill(now: now)
        return Int(tokens)
    }

    /// - Precondition: so many were available.
    package mutating func sentAgain(_ count: Int) {
        precondition(Double(count) <= tokens, "\(count) sends, \(tokens) tokens")
        tokens -= Double(count)
    }

    /// Pushes that had been sent again were answered well.
    package mutating func succeeded(_ count: Int, now: Duration) {
        guard count > 0 else { return }
        refill(now: now)
        lastSuccess = now
        tokens = max(tokens, min(settings.earnedMax, tokens + settings.perSuccess * Double(count)))
    }
}
