package import PushModel

/// The fast path from accept to dispatch: receives batches that were claimed by the write that made them durable.
package protocol DirectHandoff: Sendable {
    /// Reserves capacity for a batch of `pushes` pushes.
    ///
    /// Call it before the write: the dispatcher counts the lease from here on, so it never counts longer than the
    /// store, even if the process is suspended in between.
    ///
    /// - Returns: nil if there is no capacity, or if older batches of the app that are at least as urgent wait in the
    ///   store and must go first. Append the batch unclaimed then.
    func reserve(pushes: Int, for app: AppEnvironment, lane: Lane) -> HandoffReservation?
    /// Returns capacity that is not needed.
    func cancel(_ reservation: HandoffReservation)
    /// Delivers a claimed batch and uses up its reservation.
    func deliver(_ batch: ClaimedBatch, to reservation: HandoffReservation)
    /// Reports that an unclaimed batch was appended, so that the dispatcher claims it from the store.
    func notifyBacklog(of app: AppEnvironment, lane: Lane)
}
