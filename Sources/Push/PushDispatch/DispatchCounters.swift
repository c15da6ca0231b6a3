import PushModel
import PushStore
package import Synchronization
import Telemetry

/// Counts since the start, for metrics. Updated once per batch or group of answers.
package final class DispatchCounters: Sendable {
    package let batchesClaimed = Atomic<Int>(0)
    package let batchesHandedOver = Atomic<Int>(0)
    package let retries = Atomic<Int>(0)
    /// Attempts that were written and not answered: each may become a duplicate.
    package let ambiguous = Atomic<Int>(0)
    /// Answers for batches that another instance may own; they changed nothing.
    package let lateAnswers = Atomic<Int>(0)
    package let leasesLost = Atomic<Int>(0)
    /// Pushes that had to wait for the retry budget.
    package let budgetWaits = Atomic<Int>(0)
    /// Times that an app reached its rate.
    package let rateWaits = Atomic<Int>(0)
    /// Pushes cancelled between claim and send.
    package let cancelledInMemory = Atomic<Int>(0)
    private let pathLatency = Mutex(LatencyHistogram())

    /// The `quantile` (0...1) of the time from acceptance to the settlement of a push, in seconds.
    package func pathSeconds(_ quantile: Double) -> Double {
        pathLatency.withLock { Double($0.quantile(quantile)) / 1_000_000_000 }
    }

    func count(_ write: DispatchActions.SettlementWrite) {
        retries.add(write.settlement.retries.count, ordering: .relaxed)
        let outcomes = write.settlement.outcomes
        guard !outcomes.isEmpty else { return }
        let age = max(0, write.settlement.at.milliseconds - write.acceptedAt.milliseconds)
        pathLatency.withLock { $0.record(nanoseconds: UInt64(age) * 1_000_000, times: UInt64(outcomes.count)) }
    }

    func count(_ event: DispatchActions.Event) {
        switch event {
        case .lateAnswers(let pushes): lateAnswers.add(pushes, ordering: .relaxed)
        case .ambiguous(let pushes): ambiguous.add(pushes, ordering: .relaxed)
        case .leasesLost(let batches): leasesLost.add(batches, ordering: .relaxed)
        case .retryBudgetExhausted(let pushes): budgetWaits.add(pushes, ordering: .relaxed)
        case .rateLimited: rateWaits.add(1, ordering: .relaxed)
        case .endpointBreakerChanged, .appBreakerChanged, .credentialRefused, .credentialAccepted, .nothingDelivered:
            break
        }
    }
}
