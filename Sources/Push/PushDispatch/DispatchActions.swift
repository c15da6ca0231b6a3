package import APNSWire
package import PushModel
package import PushStore

/// What the caller of `DispatchStateMachine` does after an event, in the order of the fields.
package struct DispatchActions: Sendable {
    /// A settlement to be written to the store.
    package struct SettlementWrite: Sendable {
        package var settlement: Settlement
        /// When the batch was accepted, for the latency metric.
        package var acceptedAt: WallTime
    }

    /// Pushes to be handed to the app's APNs client.
    package struct Send: Sendable {
        /// Identifies the send in the answers; unique among all apps.
        package var ticket: UInt64
        package var app: AppEnvironment
        package var lease: Lease
        package var batch: NotificationBatch
        /// Indexes of the pushes to send; nil for the whole batch.
        package var indexes: [UInt16]?
        /// How long the client may take. Both together are less than is left of the lease.
        package var timeouts: APNSSendTimeouts
        /// Whether no push of the batch was sent under this lease before.
        package var isFirst: Bool

        package var count: Int { indexes?.count ?? batch.count }
    }

    /// For logs and metrics only.
    package enum Event: Sendable, Equatable {
        /// Answers for batches that another instance may own; they changed nothing.
        case lateAnswers(pushes: Int)
        /// Attempts that were written and not answered.
        case ambiguous(pushes: Int)
        case leasesLost(batches: Int)
        /// The circuit breaker of an APNs endpoint changed state; `cause` is the code of the last failure.
        case endpointBreakerChanged(String, CircuitBreaker.State, cause: ErrorCode)
        /// The circuit breaker of an app changed state.
        case appBreakerChanged(AppEnvironment, CircuitBreaker.State, cause: ErrorCode)
        case credentialRefused(AppEnvironment, APNSReason)
        case credentialAccepted(AppEnvironment)
        /// Retries wait because the retry budget is used up.
        case retryBudgetExhausted(pushes: Int)
        /// An app has begun to wait for its rate.
        case rateLimited
        /// Pushes that an app sent in a minute in which none was delivered.
        case nothingDelivered(AppEnvironment, pushes: Int)
    }

    package var settlements: [SettlementWrite] = []
    package var sends: [Send] = []
    package var events: [Event] = []
    /// Claim from the store now: capacity is free, or batches may have become due.
    package var wantsClaim = false
    /// Changes that the other apps of the endpoint have yet to be notified of. Empty when an event has ended.
    var endpointChanges: [EndpointChange] = []

    package init() {}
}
