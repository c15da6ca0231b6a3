package import APNSWire
package import PushModel

/// Pushes that were given up, kept with their payload until they are replayed, purged or pruned.
package protocol DeadLetterStore: Sendable {
    /// A page of dead letters, by ascending push id.
    ///
    /// - Parameters:
    ///   - app: nil: of all apps.
    ///   - after: the last id of the previous page.
    ///   - limit: 1...1,000.
    func deadLetters(of app: AppID?, after: PushID?, limit: Int) async throws(QueueError) -> [DeadLetter]

    /// One dead letter and the push that a replay would send; nil if there is none with this id. `push` is nil if the
    /// stored bytes cannot be read: such a dead letter can be listed and purged, but not replayed.
    func deadLetter(_ id: PushID) async throws(QueueError) -> (letter: DeadLetter, push: DeadLetterContent?)?

    /// Returns dead letters to the queue: same ids, no attempts, due immediately, with a new lifetime. Their own
    /// expiration still applies. Works in bounded steps. Skips dead letters whose stored bytes cannot be read.
    ///
    /// - Parameter isAllowed: whether a push may return to the queue: its batch and its index there. Must not block.
    func replay(
        _ selection: DeadLetterSelection, at now: WallTime, where isAllowed: @escaping ReplayFilter
    ) async throws(QueueError) -> ReplayCount

    /// Deletes dead letters and their payloads. Their outcomes stay. Works in bounded steps.
    ///
    /// - Returns: the number of deleted dead letters.
    func purge(_ selection: DeadLetterSelection) async throws(QueueError) -> Int
}

package typealias ReplayFilter = @Sendable (_ pushes: NotificationBatch, _ index: Int) -> Bool

extension DeadLetterStore {
    /// Returns all dead letters of a selection to the queue.
    package func replay(_ selection: DeadLetterSelection, at now: WallTime) async throws(QueueError) -> ReplayCount {
        try await replay(selection, at: now, where: { _, _ in true })
    }
}

package enum DeadLetterSelection: Sendable, Equatable {
    case ids([PushID])
    /// nil: of all apps.
    case app(AppID?)
}

package struct ReplayCount: Sendable, Equatable {
    /// Dead letters that returned to the queue.
    package var replayed: Int
    /// Dead letters that were skipped because their stored bytes cannot be read.
    package var unreadable: Int
    /// Dead letters that were skipped because they may not return.
    package var refused: Int

    package init(replayed: Int = 0, unreadable: Int = 0, refused: Int = 0) {
        self.replayed = replayed
        self.unreadable = unreadable
        self.refused = refused
    }
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
    package var givenUpAt: WallTime

    package init(
        id: PushID, app: AppID, lane: Lane, code: ErrorCode, status: UInt16, reason: ReasonText, attempts: UInt16,
        acceptedAt: WallTime, givenUpAt: WallTime
    ) {
        self.id = id
        self.app = app
        self.lane = lane
        self.code = code
        self.status = status
        self.reason = reason
        self.attempts = attempts
        self.acceptedAt = acceptedAt
        self.givenUpAt = givenUpAt
    }
}

/// The parts of a dead letter's push that may be shown: never a whole device token or payload.
package struct DeadLetterContent: Sendable, Equatable {
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
