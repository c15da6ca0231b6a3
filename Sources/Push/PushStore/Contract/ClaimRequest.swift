package import PushModel

package struct ClaimRequest: Sendable {
    /// 1...1,000.
    package var batchesMax: Int
    /// The most pushes. A batch with more unsettled pushes than are left is not claimed, and none after it.
    package var pushesMax: Int
    package var lease: Duration
    /// How far ahead the due time of a claimed push may be. The batch itself is claimed when its first push is due.
    package var lookahead: Duration
    /// Apps, each in one environment, whose batches are not claimed, for example because their circuit breaker is open. Paused apps need not be
    /// listed.
    package var excludedApps: Set<AppEnvironment>
    /// Lanes of single apps that are not claimed, for example because the dispatcher has no capacity for them.
    package var excludedLanes: Set<AppLane>
    /// Apps of which few pushes are wanted: their batches are claimed while fewer pushes than this have been. So the
    /// last batch may exceed it.
    package var enough: [AppEnvironment: Int]
    /// The most pushes of quarantined batches. A holder asks for some only while it has none, so that a crash points to
    /// them. With 1, a crash of the holder counts against that single push.
    package var quarantinedMax: Int
    /// Apps whose quarantined batches are not claimed.
    package var excludedQuarantined: Set<AppEnvironment>

    package init(
        batchesMax: Int, pushesMax: Int = .max, lease: Duration, lookahead: Duration = .zero,
        excludedApps: Set<AppEnvironment> = [], excludedLanes: Set<AppLane> = [], enough: [AppEnvironment: Int] = [:],
        quarantinedMax: Int = 1, excludedQuarantined: Set<AppEnvironment> = []
    ) {
        self.batchesMax = batchesMax
        self.pushesMax = pushesMax
        self.lease = lease
        self.lookahead = lookahead
        self.excludedApps = excludedApps
        self.excludedLanes = excludedLanes
        self.enough = enough
        self.quarantinedMax = quarantinedMax
        self.excludedQuarantined = excludedQuarantined
    }
}

/// One lane of one app in one environment: the unit of fairness and of exclusion from a claim.
package struct AppLane: Sendable, Hashable {
    package var appEnvironment: AppEnvironment
    package var lane: Lane

    package init(_ appEnvironment: AppEnvironment, lane: Lane) {
        self.appEnvironment = appEnvironment
        self.lane = lane
    }

    package var app: AppID { appEnvironment.app }
}

/// How many crashes of the holder a batch or a single push may cause.
package enum PoisonLimits {
    /// Leases of a whole batch that ended with a crash and without an update, before the batch is quarantined. After
    /// one more, during a trial with other pushes, its pushes are tried alone.
    package static let redeliveriesBeforeQuarantine = 3
    /// Crashes over a push that is tried alone, before it is given up. Not 1: a single crash may be a coincidence.
    package static let isolatedRedeliveriesMax = 2
}
