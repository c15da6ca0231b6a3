import APNSWire
package import PushModel

/// Settings of dispatch. `problems` checks them.
package struct DispatchConfiguration: Sendable {
    package var limits = DispatchLimits()
    package var policy = DeliveryPolicy()
    /// How long a claim is valid without renewal.
    package var lease: Duration = .seconds(20)
    package var renewEvery: Duration = .seconds(5)
    /// How long a push waits for the answer of APNs after it was written. Well below `lease`: no push is written when
    /// less than this is left of its lease.
    package var requestTimeout: Duration = .seconds(10)
    /// The interval of `DispatchStateMachine.tick`, which also polls the store for due batches.
    package var pollEvery: Duration = .milliseconds(250)

    package var breaker = CircuitBreaker.Settings()
    package var retryBudget = RetryBudget.Settings()
    package var credential = CredentialCheck.Settings()
    /// Apps that are missing here share one endpoint and have no rate.
    package var apps: [AppEnvironment: AppSettings] = [:]

    /// The longest time that a batch is held without sending a push of it.
    static let heldMax: Duration = .seconds(60)
    /// The longest time that a push waits in the APNs client before its request is written.
    package static let waitMax: Duration = .seconds(10)

    package init() {}

    /// All problems together, so that an operator can fix them in one pass. Each names a configuration key where there
    /// is one.
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
        if credential.probeCap < credential.probeBase {
            problems.append("credential_probe must be at least \(credential.probeBase)")
        }
        if retryBudget.perSecond < 1 || retryBudget.burst < 1 || retryBudget.share < 0 {
            problems.append("retry_budget_per_second and retry_budget_burst must be at least 1")
        }
        for (app, settings) in apps.sorted(by: { $0.key < $1.key }) where (settings.pushesPerSecond ?? 1) < 1 {
            problems.append("app '\(app.app)': rate must be at least 1 if it is set")
        }
        if Double(limits.pushesPerAppMin) * limits.capacityShares.bulk < Double(NotificationBatch.countMax) {
            problems.append(
                "pushes_per_app_min (\(limits.pushesPerAppMin)) must hold a batch of \(NotificationBatch.countMax) bulk pushes"
            )
        }
        return problems
    }
}
