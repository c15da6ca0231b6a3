import APNSWire
package import PushModel

package struct DispatchConfiguration: Sendable {
    package var limits = DispatchBuffer.Limits()
    package var policy = DeliveryPolicy()
    /// How long a claim stays ours without renewal.
    package var lease: Duration = .seconds(20)
    package var renewEvery: Duration = .seconds(5)
    /// How long a push may wait for APNs' answer once it was handed to the client. Well under `lease`, so that
    /// nothing is sent under a lease that has run out.
    package var requestTimeout: Duration = .seconds(10)
    /// How often the store is asked for batches that have become due, and `DispatchStateMachine.tick` is called.
    package var pollEvery: Duration = .milliseconds(250)

    package var breaker = Breaker.Settings()
    package var retryBudget = RetryBudget.Settings()
    /// A push probes a refused credential half of this to all of it after the last refusal.
    package var credentialProbeEvery: Duration = .seconds(30)
    /// Apps that are not named here share one environment and have no rate.
    package var apps: [AppID: DispatchApp] = [:]

    package init() {}

    /// Every problem at once, so that an operator fixes the file in one go.
    package func problems() -> [String] {
        var problems: [String] = []
        if requestTimeout <= .zero { problems.append("request_timeout must be above zero") }
        if requestTimeout + renewEvery >= lease {
            problems.append(
                "request_timeout (\(requestTimeout)) must be below \(lease - renewEvery), three quarters of lease (\(lease))"
            )
        }
        if policy.attemptsMax < 1 { problems.append("attempts_max must be at least 1") }
        if policy.retryBase <= .zero || policy.retryCap < policy.retryBase {
            problems.append("retry_base must be above zero and not above retry_cap")
        }
        if breaker.openBase <= .zero || breaker.openCap < breaker.openBase {
            problems.append("breaker_open must be above zero and not above breaker_open_max")
        }
        if breaker.slowAfter <= .zero || breaker.probeTimeout <= .zero {
            problems.append("breaker_slow_after and the time a probe has must be above zero")
        }
        if !(1...breaker.probes).contains(breaker.probesGood) {
            problems.append("of \(breaker.probes) probes \(breaker.probesGood) cannot be good")
        }
        if retryBudget.perSecond < 1 || retryBudget.burst < 1 || retryBudget.share < 0 {
            problems.append("retry_budget_per_second and retry_budget_burst must be at least 1")
        }
        for (app, settings) in apps.sorted(by: { $0.key < $1.key }) where (settings.pushesPerSecond ?? 1) < 1 {
            problems.append("app \"\(app)\": pushes_per_second must be at least 1, or be left out")
        }
        if Double(limits.pushesPerAppMin) * limits.capacityShares.bulk < Double(NotificationBatch.countMax) {
            problems.append("the room of an app must hold a whole batch of bulk pushes")
        }
        return problems
    }
}
