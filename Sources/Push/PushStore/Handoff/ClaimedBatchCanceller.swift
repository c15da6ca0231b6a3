package import PushModel

/// Cancels pushes that this instance has claimed and not sent yet, which the store reports as too late to cancel.
///
/// When a call returns, the cancelled pushes are recorded as such and are never sent, even after a crash. Pushes that
/// are being sent, are not claimed by this instance, or are settled do not change.
package protocol ClaimedBatchCanceller: Sendable {
    /// - Returns: the cancelled ones of `ids`.
    func cancel(ids: [PushID]) async -> Set<PushID>
    /// Cancels pushes of the batches of one bulk request.
    ///
    /// - Returns: the number of cancelled pushes.
    func cancel(request: String) async -> Int
    /// Cancels pushes of all batches of `app`.
    ///
    /// - Returns: the number of cancelled pushes.
    func cancel(app: AppID) async -> Int
}
