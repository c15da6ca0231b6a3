package import PushModel

/// Operations of applications and operators on waiting pushes.
package protocol QueueControl: Sendable {
    /// Settles waiting pushes as cancelled, in one write. When it returns, they are never sent.
    ///
    /// - Returns: parallel to `ids`.
    func cancel(_ ids: [PushID], at now: WallTime) async throws(QueueError) -> [CancelResult]

    /// Cancels the waiting pushes of one bulk request or of one app. Works in bounded steps, so a crash in the middle
    /// leaves some of them cancelled, and the caller without a result.
    func cancel(_ target: CancelTarget, at now: WallTime) async throws(QueueError) -> CancelCount

    /// Stops batches of an app from being claimed, including by their append, until the app is resumed. Durable. The
    /// app's pushes are still accepted. Pausing a paused app keeps the time of the first pause.
    func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) async throws(QueueError)

    /// The paused apps and the start of each pause.
    func pausedApps() async throws(QueueError) -> [AppID: WallTime]
}

package enum CancelTarget: Sendable, Equatable {
    /// By the `X-Request-Id` of a bulk request.
    case request(String)
    case app(AppID)
}

/// The result of cancelling one push.
package enum CancelResult: Sendable, Equatable {
    case cancelled
    /// Claimed: it may already be sent.
    case tooLate
    case settled(Verdict)
    /// Never accepted here, or its record was pruned.
    case unknown
}

package struct CancelCount: Sendable, Equatable {
    /// Pushes that were cancelled.
    package var cancelled: Int
    /// Pushes that are claimed and may already be sent.
    package var tooLate: Int

    package init(cancelled: Int = 0, tooLate: Int = 0) {
        self.cancelled = cancelled
        self.tooLate = tooLate
    }
}
