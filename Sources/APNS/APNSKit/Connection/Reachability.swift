package import APNSWire
package import NIOCore

/// Decides from the ends of connections and from answers whether APNs can be reached. Pure: the caller passes the time.
///
///                 a connection cannot be opened, or stops answering, and no other works
///                 pushes wait for `silenceMax`, and none is answered
///     reachable ──────────────────────────────────────────────────────────────────────▶ outage
///         ▲                                                                                │
///         └─── a push is answered, or a PING is acknowledged while no push waits ──────────┘
///
/// Only what a push needs counts as life: an answer other than a server error. A handshake, SETTINGS or an acknowledged
/// PING are no proof while pushes wait, because proxies, load balancers and stuck servers give them too. Without a
/// push there is no such proof, so a PING must do. If it was wrong, which the next pushes show, the outage continues, and
/// then only an answer ends it.
///
/// An outage because of answers that are not those of APNs ends with an answer of APNs only.
package struct Reachability {
    /// How long pushes wait without any answer until that is an outage. Above the default time for an answer, so that an
    /// APNs that is only slow is none, and low enough to be reported within 15 seconds.
    package static let silenceMax = TimeAmount.seconds(12)
    /// Pushes that are further apart show nothing about the time between them.
    package static let gapMax = TimeAmount.seconds(30)
    /// After a pause, pushes must fail or wait this long until the time before the pause counts: the next answer may be
    /// on its way.
    package static let resumeTime = TimeAmount.seconds(2)
    /// Without a push for this long, an acknowledged PING ends any outage: nothing shows that it lasts.
    package static let idleTime = TimeAmount.seconds(60)

    /// What went wrong last, described when it is needed.
    private enum Trouble: Equatable {
        case connection(APNSConnectionFailure)
        case serverError(status: UInt16, reason: APNSReason)

        var failure: APNSConnectionFailure {
            switch self {
            case .connection(let failure): failure
            case .serverError(let status, let reason): .serverError(status: status, reason: reason)
            }
        }
    }

    package private(set) var outage: APNSOutage?
    /// Failed connections and other causes of outages since the start, by cause.
    package private(set) var failures: [APNSConnectionFailure.Cause: UInt64] = [:]

    /// Since when pushes wait, as far as is known, and none was answered.
    private struct Waiting {
        let since: NIODeadline
        var until: NIODeadline
        /// The end of the last pause without pushes.
        var resumedAt: NIODeadline
        /// Whether a push or a connection has failed since that pause.
        var hasFailed = false

        init(_ now: NIODeadline) { (since, until, resumedAt) = (now, now, now) }

        mutating func extend(to now: NIODeadline) {
            if until + .seconds(1) < now { (resumedAt, hasFailed) = (now, false) }
            until = now
        }

        func showsOutage(after silenceMax: TimeAmount) -> Bool {
            until - since >= silenceMax && (hasFailed || until - resumedAt >= min(silenceMax, Reachability.resumeTime))
        }
    }

    private let silenceMax: TimeAmount
    private var waiting: Waiting?
    /// Since `waiting` began.
    private var trouble: Trouble?
    /// Whether an acknowledged PING is no proof.
    private var needsAnswer = false
    /// Whether a PING was acknowledged after the last failure.
    private var isAcknowledged = false
    /// The last outage that a PING ended, until a push is answered.
    private var ended: (outage: APNSOutage, at: NIODeadline)?

    package init(silenceMax: TimeAmount = Self.silenceMax) {
        self.silenceMax = silenceMax
    }

    // MARK: Connections

    /// Records that a connection could not be opened, or was lost.
    ///
    /// - Parameters:
    ///   - showsOutage: it could not be opened, or did not answer pushes. False for a connection that the server ended,
    ///     because its replacement usually works.
    ///   - hasOther: whether another connection works.
    package mutating func lost(
        _ failure: APNSConnectionFailure, showsOutage: Bool, hasOther: Bool, now: NIODeadline, wall: UNIXTime
    ) {
        failures[failure.cause, default: 0] += 1
        noteTrouble(failure)
        guard !hasOther else { return }
        isAcknowledged = false
        if outage != nil {
            // The reason for which answers are refused is more useful than that of a connection that ended afterwards.
            if outage?.failure.cause != .notAPNs || showsOutage { outage?.failure = failure }
        } else if showsOutage {
            begin(failure, since: wall, now: now)
        }
    }

    /// Records why pushes may wait, without an effect of its own.
    package mutating func noteTrouble(_ failure: APNSConnectionFailure) {
        trouble = .connection(failure)
        waiting?.hasFailed = true
    }

    /// A connection acknowledged a PING.
    ///
    /// - Parameter hasPushes: whether pushes wait for an answer, which will be the better proof.
    package mutating func pingAcknowledged(hasPushes: Bool, now: NIODeadline) {
        guard let outage, outage.failure.cause != .notAPNs else { return }
        isAcknowledged = true
        guard !hasPushes, !needsAnswer else { return }
        ended = (outage, now)
        self.outage = nil
    }

    // MARK: Pushes

    /// Pushes wait for a connection or for their answers. To be called when they begin to, and again while they do.
    package mutating func pushesWait(now: NIODeadline) {
        if let last = waiting, last.until + Self.gapMax >= now {
            waiting?.extend(to: now)
        } else {
            waiting = Waiting(now)
            trouble = nil
        }
    }

    /// APNs answered a push, and not with a server error.
    package mutating func answered() {
        waiting = nil
        guard outage != nil || trouble != nil || ended != nil else { return }
        (outage, trouble, ended) = (nil, nil, nil)
        (needsAnswer, isAcknowledged) = (false, false)
    }

    /// APNs refused the credential without an answer to a push. That it does is no outage.
    package mutating func credentialRefused() { (waiting, trouble) = (nil, nil) }

    /// A server answered a push with a server error.
    package mutating func answeredWithError(status: UInt16, reason: APNSReason) {
        waiting?.hasFailed = true
        let new = Trouble.serverError(status: status, reason: reason)
        guard trouble != new else { return }
        trouble = new
        guard let cause = outage?.failure.cause, cause != .notAPNs else { return }
        outage?.failure = new.failure
        needsAnswer = true
    }

    /// A server answered a push, and not as APNs does.
    package mutating func answeredByOther(_ failure: APNSConnectionFailure, wall: UNIXTime) {
        failures[failure.cause, default: 0] += 1
        outage = APNSOutage(since: outage?.since ?? wall, failure: failure)
    }

    // MARK: Time

    /// Applies the passage of time.
    ///
    /// - Parameter ignoresPings: whether a PING is unacknowledged, so that the connection is silent as well.
    /// - Returns: whether an outage has begun.
    package mutating func advance(now: NIODeadline, wall: UNIXTime, ignoresPings: Bool) -> Bool {
        guard let outage else { return detectSilence(now: now, wall: wall, ignoresPings: ignoresPings) }
        let isIdle = waiting.map { $0.until + Self.idleTime <= now } ?? true
        if isIdle, isAcknowledged, outage.failure.cause != .notAPNs {
            (self.outage, trouble, waiting) = (nil, nil, nil)
            needsAnswer = false
        }
        return false
    }

    private mutating func detectSilence(now: NIODeadline, wall: UNIXTime, ignoresPings: Bool) -> Bool {
        guard let waiting, waiting.showsOutage(after: silenceMax) else { return false }
        let failure =
            ignoresPings ? APNSConnectionFailure(.pingTimeout) : trouble?.failure ?? .unanswered(for: silenceMax)
        // Other causes are counted for each connection.
        if failure.cause == .unanswered || failure.cause == .serverError { failures[failure.cause, default: 0] += 1 }
        let seconds = (now - waiting.since).nanoseconds / 1_000_000_000
        begin(failure, since: UNIXTime(secondsSince1970: wall.secondsSince1970 - seconds), now: now)
        needsAnswer = true
        return true
    }

    private mutating func begin(_ failure: APNSConnectionFailure, since: UNIXTime, now: NIODeadline) {
        // A PING was acknowledged, but no push was answered since: that is the same outage.
        let before = ended.flatMap { $0.at + Self.idleTime > now ? $0.outage : nil }
        outage = APNSOutage(since: before?.since ?? since, failure: failure)
        needsAnswer = before != nil
        isAcknowledged = false
        ended = nil
    }
}
