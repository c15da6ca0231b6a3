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

/// 1 to 1,000 pushes of one app, one environment and one lane: the unit that the queue stores, and that dispatch claims,
/// sends and settles.
package struct Batch: Sendable, Equatable {
    package let id: BatchID
    package let app: AppID
    package let environment: APNSEnvironment
    package let lane: Lane
    package let acceptedAt: WallTime
    /// No push is sent before its time; nil: immediately. Every time is later than `acceptedAt`.
    package let dueTimes: PushColumn<WallTime>
    /// The pushes. `notifications.firstID` is `id`.
    package let notifications: NotificationBatch
    /// The calling systems.
    package let clients: PushColumn<String>
    /// The W3C traceparents of the requests that brought the pushes.
    package let traceparents: PushColumn<String>
    /// The IDs of the requests that brought the pushes.
    package let requestIDs: PushColumn<String>
    package let ambiguity: AmbiguityPolicy

    /// - Parameter dueTimes: a time of `acceptedAt` or earlier means immediately.
    /// - Precondition: `notifications` is not empty, its first ID is `id`, and each column fits it.
    package init(
        id: BatchID, app: AppID, environment: APNSEnvironment = .production, lane: Lane, acceptedAt: WallTime,
        dueTimes: PushColumn<WallTime> = PushColumn(), notifications: NotificationBatch,
        clients: PushColumn<String> = PushColumn(), traceparents: PushColumn<String> = PushColumn(),
        requestIDs: PushColumn<String> = PushColumn(), ambiguity: AmbiguityPolicy = .resend
    ) {
        precondition(notifications.firstID == id.value, "the pushes of a batch are numbered from its ID")
        precondition(!notifications.isEmpty, "a batch holds at least one push")
        let count = notifications.count
        precondition(
            dueTimes.covers(count) && clients.covers(count) && traceparents.covers(count) && requestIDs.covers(count),
            "a column has one value for each push"
        )
        self.id = id
        self.app = app
        self.environment = environment
        self.lane = lane
        self.acceptedAt = acceptedAt
        self.dueTimes = dueTimes.mapValues { $0 > acceptedAt ? $0 : nil }
        self.notifications = notifications
        self.clients = clients
        self.traceparents = traceparents
        self.requestIDs = requestIDs
        self.ambiguity = ambiguity
    }

    package var count: Int { notifications.count }
    package var appEnvironment: AppEnvironment { AppEnvironment(app, environment) }

    /// The earliest time at which a push may be sent; at least `acceptedAt`.
    package func due(of index: UInt16) -> WallTime { dueTimes[Int(index)] ?? acceptedAt }

    /// When the first push is due.
    package var firstDue: WallTime {
        dueTimes.values.map { $0.reduce(.distantFuture) { min($0, $1 ?? acceptedAt) } } ?? dueTimes.shared ?? acceptedAt
    }

    /// When all pushes are due.
    package var lastDue: WallTime {
        dueTimes.values.map { $0.reduce(acceptedAt) { max($0, $1 ?? acceptedAt) } } ?? dueTimes.shared ?? acceptedAt
    }

    /// The request that brought all pushes, by which they can be cancelled; nil if they come from several requests.
    package var requestID: String? { requestIDs.shared }

    /// The batch with other due times.
    package func scheduled(_ dueTimes: PushColumn<WallTime>) -> Batch {
        Batch(
            id: id, app: app, environment: environment, lane: lane, acceptedAt: acceptedAt, dueTimes: dueTimes,
            notifications: notifications, clients: clients, traceparents: traceparents, requestIDs: requestIDs,
            ambiguity: ambiguity
        )
    }
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
    /// Why the last attempt failed; `.none` if it did not. A push that expires keeps this code.
    package var code: ErrorCode

    /// Whether an attempt, counted or not, may have reached APNs: sending the push again uses the retry budget.
    package var isResend: Bool { attempts > 0 || code.isOfUncountedAttempt }

    /// Its outcome if it was not sent in time. Why that was so says more than that it was.
    package func expired() -> Outcome {
        Outcome(index: index, verdict: .expired, code: code == .none ? .expired : code, attempts: attempts)
    }

    package init(
        index: UInt16, attempts: UInt16, due: WallTime, isUnanswered: Bool = false, code: ErrorCode = .none
    ) {
        self.index = index
        self.attempts = attempts
        self.due = due
        self.isUnanswered = isUnanswered
        self.code = code
    }
}
