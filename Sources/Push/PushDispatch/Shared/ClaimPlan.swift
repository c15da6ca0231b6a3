package import PushModel
package import PushStore

/// What to claim from the store.
package struct ClaimPlan: Equatable, Sendable {
    /// Counts the plans, from 1.
    let number: Int
    package var batchesMax: Int
    package var pushesMax: Int
    package var excludedApps: Set<AppEnvironment>
    package var excludedLanes: Set<AppLane>
    /// How many pushes of an app are enough, where that is less than `pushesMax`.
    package var enough: [AppEnvironment: Int] = [:]
    /// The trial size: pushes of quarantined batches that may be claimed. Zero while a trial is in memory.
    package var quarantinedMax: Int
    /// Apps whose quarantined batches are not tried now.
    package var excludedQuarantined: Set<AppEnvironment> = []

    /// The call that carries out the plan.
    package func request(lease: Duration) -> ClaimRequest {
        ClaimRequest(
            batchesMax: batchesMax, pushesMax: pushesMax, lease: lease, lookahead: DispatchConfiguration.heldMax,
            excludedApps: excludedApps, excludedLanes: excludedLanes, enough: enough,
            quarantinedMax: quarantinedMax, excludedQuarantined: excludedQuarantined
        )
    }
}
