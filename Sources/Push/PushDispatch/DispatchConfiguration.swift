import PushModel

package struct DispatchConfiguration: Sendable {
    package var limits = DispatchStateMachine.Limits()
    package var policy = DeliveryPolicy()
    /// How long a claim stays ours without renewal.
    package var lease: Duration = .seconds(20)
    package var renewEvery: Duration = .seconds(5)
    /// How long a push may wait for APNs' answer once it was handed to the client. Well under `lease`, so that
    /// nothing is sent under a lease that has run out.
    package var requestTimeout: Duration = .seconds(10)
    /// How often the store is asked for batches that have become due, and `DispatchCore.tick` is called.
    package var pollEvery: Duration = .milliseconds(250)

    package init() {}

    /// Every problem at once, so that an operator fixes the file in one go.
    package func problems() -> [String] {
        var problems: [String] = []
        if requestTimeout <= .zero { problems.append("request_timeout must be above zero") }
        if requestTimeout + renewEvery >= lease {
            problems.append("request_timeout (\(requestTimeout)) must be below \(lease - renewEvery)")
        }
        if policy.attemptsMax < 1 { problems.append("attempts_max must be at least 1") }
        if policy.retryBase <= .zero || policy.retryCap < policy.retryBase {
            problems.append("retry_base must be above zero and not above retry_cap")
        }
        return problems
    }
}
