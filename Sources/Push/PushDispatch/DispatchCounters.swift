import PushModel
import PushStore
package import Synchronization
import Telemetry

/// What dispatch has done since the start, for metrics. Added to once per batch or piece of answers.
package final class DispatchCounters: Sendable {
    package let batchesClaimed = Atomic<Int>(0)
    package let batchesHandedOver = Atomic<Int>(0)
    package let pushesSent = Atomic<Int>(0)
    package let retries = Atomic<Int>(0)
    /// Attempts that were written and not answered: each may have become a double.
    package let ambiguous = Atomic<Int>(0)
    /// Answers for batches that were no longer ours; they changed nothing.
    package let lateAnswers = Atomic<Int>(0)
    package let leasesLost = Atomic<Int>(0)
    /// Pushes that had to wait because too many were sent again already.
    package let budgetWaits = Atomic<Int>(0)
    /// Times that an app came to the limit of what it may send in a second.
    package let rateWaits = Atomic<Int>(0)
    /// Pushes that were claimed and not sent yet when they were cancelled.
    package let cancelledInMemory = Atomic<Int>(0)
    private let path = Mutex(LatencyHistogram())

    /// Seconds from accepted to settled that the fraction `quantile` of all pushes did not exceed.
    package func pathSeconds(_ quantile: Double) -> Double {
        path.withLock { Double($0.quantile(quantile)) / 1_000_000_000 }
    }

    func count(_ news: DispatchActions.News) {
        retries.add(news.settlement.retries.count, ordering: .relaxed)
        let outcomes = news.settlement.outcomes
        guard !outcomes.isEmpty else { return }
        let age = max(0, news.settlement.at.milliseconds - news.acceptedAt.milliseconds)
        path.withLock { $0.record(nanoseconds: UInt64(age) * 1_000_000, times: UInt64(outcomes.count)) }
    }

    func count(_ event: DispatchActions.Event) {
        switch event {
        case .late(let pushes): lateAnswers.add(pushes, ordering: .relaxed)
        case .ambiguous(let pushes): ambiguous.add(pushes, ordering: .relaxed)
        case .leasesLost(let batches): leasesLost.add(batches, ordering: .relaxed)
        case .overBudget(let pushes): budgetWaits.add(pushes, ordering: .relaxed)
        case .rateWait: rateWaits.add(1, ordering: .relaxed)
        case .environment, .app, .credentialRefused, .credentialAccepted, .nothingDelivered: break
        }
    }
}
