package import APNSWire

/// What an answer means for a push. A verdict is final.
package enum Verdict: UInt8, Sendable, CaseIterable {
    /// APNs accepted the push. Apple does not report whether the device showed it.
    case delivered = 1
    /// APNs refuses the push and would refuse it again.
    case rejected = 2
    /// The deadline of the push passed before it could be sent.
    case expired = 3
    case cancelled = 4
    /// Deliberately not sent: duplicate, superseded, quiet hours.
    case suppressed = 5
    /// The push had too many attempts.
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
    /// HTTP status of the last answer; 0 without one.
    package var status: UInt16
    package var attempts: UInt16
    package var reason: ReasonText
    /// From a 410: when APNs found that the token is no longer valid, in UNIX milliseconds; otherwise 0.
    package var tokenDeadAt: Int64
    /// `apns-unique-id` of the answer, which only the development environment of APNs sends.
    package var uniqueID: String?

    package init(
        index: UInt16, verdict: Verdict, code: ErrorCode, status: UInt16 = 0, attempts: UInt16,
        reason: ReasonText = .known(.none), tokenDeadAt: Int64 = 0, uniqueID: String? = nil
    ) {
        self.index = index
        self.verdict = verdict
        self.code = code
        self.status = status
        self.attempts = attempts
        self.reason = reason
        self.tokenDeadAt = tokenDeadAt
        self.uniqueID = uniqueID
    }
}

/// A push that returns to the queue for another attempt.
package struct Retry: Sendable, Equatable {
    package var index: UInt16
    /// Why the last attempt failed.
    package var code: ErrorCode
    package var status: UInt16
    /// Past attempts that may have reached APNs.
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

/// The reason of an answer: a known one, or its verbatim text.
package enum ReasonText: Sendable, Equatable, Hashable {
    case known(APNSReason)
    case verbatim(String)

    /// The text on the wire; empty if there is no reason.
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

/// The current state of a push, as the status routes report it.
package struct PushStatus: Sendable, Equatable {
    package enum State: Sendable, Hashable {
        /// Durable, and waiting to be claimed.
        case queued
        /// Waiting for its `not_before`.
        case scheduled
        /// Claimed; an attempt may be under way.
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

        package static let all = [queued, scheduled, sending, retrying] + Verdict.allCases.map(settled)
    }

    package var id: PushID
    package var app: AppID
    package var environment: APNSEnvironment
    package var lane: Lane
    package var state: State
    /// Why the last attempt failed; `.none` if it did not.
    package var code: ErrorCode
    package var status: UInt16
    package var reason: ReasonText
    package var attempts: UInt16
    package var acceptedAt: WallTime
    /// When `state` last changed, according to the store.
    package var updatedAt: WallTime
    /// When the next attempt is due, for `scheduled` and `retrying`.
    package var nextAttemptAt: WallTime?
    package var tokenDeadAt: WallTime?
    /// `apns-unique-id` of the final answer.
    package var uniqueID: String?

    package init(
        id: PushID, app: AppID, environment: APNSEnvironment = .production, lane: Lane, state: State,
        code: ErrorCode = .none, status: UInt16 = 0, reason: ReasonText = .known(.none), attempts: UInt16 = 0,
        acceptedAt: WallTime, updatedAt: WallTime, nextAttemptAt: WallTime? = nil, tokenDeadAt: WallTime? = nil,
        uniqueID: String? = nil
    ) {
        self.id = id
        self.app = app
        self.environment = environment
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
        self.uniqueID = uniqueID
    }

    package var appEnvironment: AppEnvironment { AppEnvironment(app, environment) }
}
