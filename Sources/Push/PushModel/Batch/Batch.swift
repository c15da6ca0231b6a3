package import APNSWire

/// What happens to a push that was sent and not answered, so that nobody knows whether APNs took it.
package enum AmbiguityPolicy: UInt8, Sendable, CaseIterable {
    /// Sent again, with the same `apns-id`: it may arrive twice.
    case resend = 0
    /// Given up: it may not have arrived at all.
    case drop = 1

    package var label: String {
        switch self {
        case .resend: "resend"
        case .drop: "drop"
        }
    }

    package init?(label: some StringProtocol) {
        guard let policy = Self.allCases.first(where: { $0.label == label }) else { return nil }
        self = policy
    }
}

/// 1 to 1,000 pushes of one app and one lane: the unit that is stored, claimed, sent and settled.
package struct Batch: Sendable, Equatable {
    package let id: BatchID
    package let app: AppID
    package let lane: Lane
    package let acceptedAt: WallTime
    /// Nothing of the batch is sent before; nil: at once.
    package let notBefore: WallTime?
    /// The pushes. `notifications.firstID` is `id`.
    package let notifications: NotificationBatch
    /// W3C traceparent of the request that brought the batch.
    package let traceparent: String?
    /// Of the bulk request that brought the batch, so that it can be cancelled by it; nil for batches of many requests.
    package let requestID: String?
    package let ambiguity: AmbiguityPolicy

    /// - Precondition: `notifications` is not empty and its first id is `id`.
    package init(
        id: BatchID, app: AppID, lane: Lane, acceptedAt: WallTime, notBefore: WallTime? = nil,
        notifications: NotificationBatch, traceparent: String? = nil, requestID: String? = nil,
        ambiguity: AmbiguityPolicy = .resend
    ) {
        precondition(notifications.firstID == id.value, "the pushes of a batch are numbered from its id")
        precondition(!notifications.isEmpty, "a batch holds at least one push")
        self.id = id
        self.app = app
        self.lane = lane
        self.acceptedAt = acceptedAt
        self.notBefore = notBefore
        self.notifications = notifications
        self.traceparent = traceparent
        self.requestID = requestID
        self.ambiguity = ambiguity
    }

    package var count: Int { notifications.count }
}

/// A push of a claimed batch that still has to be sent.
package struct PendingPush: Sendable, Equatable {
    package var index: UInt16
    /// Attempts so far that may have reached APNs.
    package var attempts: UInt16
    /// The next attempt may not be made before.
    package var due: WallTime
    /// It was about to be sent, and nobody has recorded what became of it: it may have reached APNs. Recorded of pushes that
    /// are dropped when unanswered only.
    package var isUnanswered: Bool

    package init(index: UInt16, attempts: UInt16, due: WallTime, isUnanswered: Bool = false) {
        self.index = index
        self.attempts = attempts
        self.due = due
        self.isUnanswered = isUnanswered
    }
}
