import PushDispatch
import PushModel
import Synchronization
import Telemetry

extension GatewayMetrics {
    static func registerDispatch(_ dispatcher: Dispatcher, apps: [AppID], in registry: MetricsRegistry) {
        registerDispatchCounters(dispatcher.counters, in: registry)
        registry.gauge("godwit_pushes_in_memory", help: "Claimed pushes that are not yet durably settled.") {
            Double(dispatcher.snapshot().pushesInMemory)
        }
        registry.gauge("godwit_pushes_in_flight", help: "Pushes handed to an APNs client and not yet answered.") {
            Double(dispatcher.snapshot().pushesInFlight)
        }
        registry.gauges(
            "godwit_path_seconds", help: "Seconds from acceptance to the answer of APNs, quantiles since the start.",
            label: "quantile",
            [0.5, 0.99, 0.999].map { quantile in ("\(quantile)", { dispatcher.counters.pathSeconds(quantile) }) }
        )
        registry.gauges(
            "godwit_breaker_state", help: "Circuit breaker of the app: 0 closed, 1 half open, 2 open.", label: "app",
            apps.map { app in ("\(app)", { Double(dispatcher.breakerState(of: app).rawValue) }) }
        )
    }

    private static func registerDispatchCounters(_ counters: DispatchCounters, in registry: MetricsRegistry) {
        let totals: [(String, String, @Sendable () -> Int)] = [
            (
                "batches_claimed", "Batches claimed from the store.",
                { counters.batchesClaimed.load(ordering: .relaxed) }
            ),
            (
                "batches_handed_over", "Batches handed directly from acceptance to dispatch.",
                { counters.batchesHandedOver.load(ordering: .relaxed) }
            ),
            (
                "retries", "Attempts after which the push returned to the queue.",
                { counters.retries.load(ordering: .relaxed) }
            ),
            (
                "ambiguous_attempts", "Attempts that were written and not answered; each can become a duplicate.",
                { counters.ambiguous.load(ordering: .relaxed) }
            ),
            (
                "late_answers", "Answers for batches whose lease was lost; ignored.",
                { counters.lateAnswers.load(ordering: .relaxed) }
            ),
            (
                "leases_lost", "Batches that another lease overtook.",
                { counters.leasesLost.load(ordering: .relaxed) }
            ),
            (
                "retry_budget_waits", "Pushes that waited because the retry budget was used up.",
                { counters.budgetWaits.load(ordering: .relaxed) }
            ),
            (
                "rate_waits", "Times that an app reached its rate.",
                { counters.rateWaits.load(ordering: .relaxed) }
            ),
            (
                "cancelled_in_memory", "Pushes cancelled after they were claimed and before they were sent.",
                { counters.cancelledInMemory.load(ordering: .relaxed) }
            ),
        ]
        for (name, help, read) in totals {
            registry.counter("godwit_\(name)_total", help: help) { Double(read()) }
        }
    }
}
