package import PushModel

/// What an application, or whoever is on call, may do with pushes that wait.
package protocol QueueControl: Sendable {
    /// Settles pushes that wait as cancelled, in one write; once this returns they are never sent.
    ///
    /// - Returns: parallel to `ids`.
    func cancel(_ ids: [PushID], at now: WallTime) async throws(QueueError) -> [CancelResult]

    /// The same for the batches of one bulk request, or of one app. Works in bounded steps, so a crash in the middle
    /// leaves some cancelled; then nobody was told that they are.
    func cancel(_ target: CancelTarget, at now: WallTime) async throws(QueueError) -> CancelCount

    /// Keeps an app's batches from being claimed, also by their append, until it is resumed; durable. Pushes are
    /// accepted all the while. An app that is paused already keeps its moment.
    func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) async throws(QueueError)

    /// The apps that are paused, and since when.
    func pausedApps() async throws(QueueError) -> [AppID: WallTime]
}

package enum CancelTarget: Sendable, Equatable {
    /// By the `X-Request-Id` of a bulk request.
    case request(String)
    case app(AppID)
}

/// What became of the wish to cancel a push.
package enum CancelResult: Sendable, Equatable {
    case cancelled
    /// Claimed: it may be on its way.
    case tooLate
    case settled(Verdict)
    /// Never accepted here, or its record is gone.
    case unknown
}

package struct CancelCount: Sendable, Equatable {
    /// Pushes cancelled.
    package var cancelled: Int
    /// Pushes that may be on their way.
    package var tooLate: Int

    package init(cancelled: Int = 0, tooLate: Int = 0) {
        self.cancelled = cancelled
        self.tooLate = tooLate
    }
}

/// Pushes that were given up, kept with their payload until they are replayed, purged, or their time is over.
package protocol DeadLetterStore: Sendable {
    /// By push id, ascending.
    ///
    /// - Parameters:
    ///   - app: nil: of all apps.
    ///   - after: the last one of the former page.
    ///   - limit: 1...1,000.
    func deadLetters(of app: AppID?, after: PushID?, limit: Int) async throws(QueueError) -> [DeadLetter]

    /// One with what would be sent; nil when there is none of this id. No `push`: its stored bytes cannot be read, so that
    /// it can be listed and purged, no more.
    func deadLetter(_ id: PushID) async throws(QueueError) -> (letter: DeadLetter, push: DeadPush?)?

    /// Puts dead letters back into the queue as if they were new: same ids, no attempts, due at once, with a new
    /// lifetime. Their own expiration still holds. Works in bounded steps, like `purge`.
    ///
    /// Those whose stored bytes cannot be read stay where they are; they hold up no others.
    func replay(_ selection: DeadLetterSelection, at now: WallTime) async throws(QueueError) -> ReplayCount

    /// Forgets dead letters and their payloads; their outcomes stay.
    ///
    /// - Returns: how many there were.
    func purge(_ selection: DeadLetterSelection) async throws(QueueError) -> Int
}

package struct ReplayCount: Sendable, Equatable {
    /// Put back into the queue.
    package var replayed: Int
    /// Left where they are, because their stored bytes cannot be read.
    package var unreadable: Int

    package init(replayed: Int = 0, unreadable: Int = 0) {
        self.replayed = replayed
        self.unreadable = unreadable
    }
}

package enum DeadLetterSelection: Sendable, Equatable {
    case ids([PushID])
    /// nil: of all apps.
    case app(AppID?)
}

package struct DeadLetter: Sendable, Equatable {
    package var id: PushID
    package var app: AppID
    package var lane: Lane
    /// Why it was given up.
    package var code: ErrorCode
    package var status: UInt16
    package var reason: ReasonText
    package var attempts: UInt16
    package var acceptedAt: WallTime
    package var diedAt: WallTime

    package init(
        id: PushID, app: AppID, lane: Lane, code: ErrorCode, status: UInt16, reason: ReasonText, attempts: UInt16,
        acceptedAt: WallTime, diedAt: WallTime
    ) {
        self.id = id
        self.app = app
        self.lane = lane
        self.code = code
        self.status = status
        self.reason = reason
        self.attempts = attempts
        self.acceptedAt = acceptedAt
        self.diedAt = diedAt
    }
}

/// What of a dead letter may be shown: never a whole device token or payload.
package struct DeadPush: Sendable, Equatable {
    package var topic: String
    /// As on the wire, e.g. "alert".
    package var pushType: String
    package var tokenBytes: Int
    package var payloadBytes: Int
    /// UNIX seconds; nil: none.
    package var expiration: Int64?
    package var collapseID: String?

    package init(
        topic: String, pushType: String, tokenBytes: Int, payloadBytes: Int, expiration: Int64?, collapseID: String?
    ) {
        self.topic = topic
        self.pushType = pushType
        self.tokenBytes = tokenBytes
        self.payloadBytes = payloadBytes
        self.expiration = expiration
        self.collapseID = collapseID
    }
}
