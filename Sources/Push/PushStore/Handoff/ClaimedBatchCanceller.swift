package import PushModel

/// Pushes that this instance has claimed and not sent yet: for the store it is too late to cancel them, here it is not.
///
/// Once a call returns, what it took back is recorded as cancelled and is never sent, not after a crash either. What is
/// being sent, is not claimed here, or has ended is left alone.
package protocol ClaimedBatchCanceller: Sendable {
    /// - Returns: those of `ids` that were taken back.
    func cancel(ids: [PushID]) async -> Set<PushID>
    /// The same for the batches of one bulk request.
    ///
    /// - Returns: how many pushes were taken back.
    func cancel(request: String) async -> Int
    /// The same for all batches of `app`.
    func cancel(app: AppID) async -> Int
}
