package import APNSWire

/// What an answer means for the push, once and for all. A verdict never changes.
package enum Verdict: UInt8, Sendable, CaseIterable {
    /// APNs took it. Not that a phone showed it.
    case delivered = 1
    /// APNs will never take it as it is.
    case rejected = 2
    /// Its time was over before it could be sent.
    case expired = 3
    case cancelled = 4
    /// Not sent on purpose: duplicate, superseded, quiet hours.
    case suppressed = 5
    /// Tried too often.
    case givenUp = 6

    package var label: String {
        switch self {
        case .delivered: "delivered"
        case .rejected: "rejected"
        case .expired: "expired"
        case .cancelled: "cancelled"
        case .suppressed: "suppressed"
        case .givenUp: "given_up"
        }
    }
}

/// The durable record of a verdict.
package struct Outcome: Sendable, Equatable {
    package var index: UInt16
    package var verdict: Verdict
    package var code: ErrorCode
    /// HTTP status of the last answer, 0 without one.
    package var status: UInt16
    package var attempts: UInt16
    package var reason: ReasonText
    /// From a 410: when APNs learnt that the token is dead, UNIX milliseconds; 0: not said.
    package var tokenDeadAt: Int64

    package init(
        index: UInt16, verdict: Verdict, code: ErrorCode, status: UInt16 = 0, attempts: UInt16,
        reason: ReasonText = .known(.none), tokenDeadAt: Int64 = 0
    ) {
        self.index = index
        self.verdict = verdict
        self.code = code
        self.status = status
        self.attempts = attempts
        self.reason = reason
        self.tokenDeadAt = tokenDeadAt
    }
}

/// A push goes back to the queue.
package struct Retry: Sendable, Equatable {
    package var index: UInt16
    /// Why the last attempt failed.
    package var code: ErrorCode
    package var status: UInt16
    /// Attempts so far that may have reached APNs.
    package var attempts: UInt16
    package var reason: ReasonText
    package var due: WallTime

    package init(
        index: UInt16, code: ErrorCode, status: UInt16 = 0, attempts: UInt16, reason: ReasonText = .known(.none),
        due: WallTime
    ) {
        self.index = index
        self.code = code
        self.status = status
        self.attempts = attempts
        self.reason = reason
        self.due = due
    }
}

/// APNs' reason: from the table, or verbatim.
package enum ReasonText: Sendable, Equatable, Hashable {
    case known(APNSReason)
    case verbatim(String)

    /// The text on the wire; empty when there is none.
    package var text: String {
        switch self {
        case .known(let reason): "\(reason.label)"
        case .verbatim(let text): text
        }
    }

    package init(text: String) {
        let reason = APNSReason(label: text)
        self = reason == .unknown ? .verbatim(text) : .known(reason)
    }
}

/// What can be told about a push.
package struct PushStatus: Sendable, Equatable {
    package enum State: Sendable, Equatable {
        /// Durable, waiting for its turn.
        case queued
        /// Waiting for its `not_before`.
        case scheduled
        /// Claimed; it may be on its way.
        case sending
        /// Waiting for another attempt.
        case retrying
        case settled(Verdict)

        package var label: String {
            switch self {
            case .queued: "queued"
            case .scheduled: "scheduled"
            case .sending: "sending"
            case .retrying: "retrying"
            case .settled(let verdict): verdict.label
            }
        }
    }

    package var id: PushID
    package var app: AppID
    package var lane: Lane
    package var state: State
    /// Of the last attempt, else `.none`.
    package var code: ErrorCode
    package var status: UInt16
    package var reason: ReasonText
    package var attempts: UInt16
    package var acceptedAt: WallTime
    /// When `state` last changed, as far as it is recorded.
    package var updatedAt: WallTime
    /// When the next attempt is due, for `scheduled` and `retrying`.
    package var nextAttemptAt: WallTime?
    package var tokenDeadAt: WallTime?

    package init(
        id: PushID, app: AppID, lane: Lane, state: State, code: ErrorCode = .none, status: UInt16 = 0,
        reason: ReasonText = .known(.none), attempts: UInt16 = 0, acceptedAt: WallTime, updatedAt: WallTime,
        nextAttemptAt: WallTime? = nil, tokenDeadAt: WallTime? = nil
    ) {
        self.id = id
        self.app = app
        self.lane = lane
        self.state = state
        self.code = code
        self.status = status
        self.reason = reason
        self.attempts = attempts
        self.acceptedAt = acceptedAt
        self.updatedAt = updatedAt
        self.nextAttemptAt = nextAttemptAt
        self.tokenDeadAt = tokenDeadAt
    }
}
