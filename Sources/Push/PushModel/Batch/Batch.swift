package import APNSWire

/// What happens to a push that was sent and not answered, so that APNs may or may not have accepted it.
package enum AmbiguityPolicy: UInt8, Sendable, CaseIterable {
    /// Send it again with the same `apns-id`: it may arrive twice.
    case resend = 0
    /// At-most-once: give it up, so it may not arrive at all.
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

/// 1 to 1,000 pushes of one app, one environment and one lane: the unit that the queue stores, and that dispatch claims, sends and
/// settles.
package struct Batch: Sendable, Equatable {
    package let id: BatchID
    package let app: AppID
    package let environment: APNSEnvironment
    package let lane: Lane
    package let acceptedAt: WallTime
    /// No push of the batch is sent before this time; nil: send immediately.
    package let notBefore: WallTime?
    /// The pushes. `notifications.firstID` is `id`.
    package let notifications: NotificationBatch
    /// The W3C traceparent of the request that created the batch.
    package let traceparent: String?
    /// The ID of the bulk request that created the batch, by which it can be cancelled; nil if the pushes come from
    /// several requests.
    package let requestID: String?
    package let ambiguity: AmbiguityPolicy

    /// - Precondition: `notifications` is not empty and its first ID is `id`.
    package init(
        id: BatchID, app: AppID, environment: APNSEnvironment = .production, lane: Lane, acceptedAt: WallTime,
        notBefore: WallTime? = nil, notifications: NotificationBatch, traceparent: String? = nil,
        requestID: String? = nil,
        ambiguity: AmbiguityPolicy = .resend
    ) {
        precondition(notifications.firstID == id.value, "the pushes of a batch are numbered from its ID")
        precondition(!notifications.isEmpty, "a batch holds at least one push")
        self.id = id
        self.app = app
        self.environment = environment
        self.lane = lane
        self.acceptedAt = acceptedAt
        self.notBefore = notBefore
        self.notifications = notifications
        self.traceparent = traceparent
        self.requestID = requestID
        self.ambiguity = ambiguity
    }

    package var count: Int { notifications.count }
    package var appEnvironment: AppEnvironment { AppEnvironment(app, environment) }

    /// The earliest time at which a push may be sent; at least `acceptedAt`.
    package func due(of index: UInt16) -> WallTime { max(notBefore ?? acceptedAt, acceptedAt) }
}

/// A push of a claimed batch that has no verdict.
package struct PendingPush: Sendable, Equatable {
    package var index: UInt16
    /// Past attempts that may have reached APNs.
    package var attempts: UInt16
    /// The earliest time of the next attempt.
    package var due: WallTime
    /// Whether an at-most-once push may have reached APNs: it was announced as about to be sent, and no answer is
    /// recorded. Always false for pushes with the policy `resend`.
    package var isUnanswered: Bool

    package init(index: UInt16, attempts: UInt16, due: WallTime, isUnanswered: Bool = false) {
        self.index = index
        self.attempts = attempts
        self.due = due
        self.isUnanswered = isUnanswered
    }
}
