/// Mistakes that can be put into the models and shells of the simulation, to see that it finds them.
package enum PlantedBug: String, Sendable, CaseIterable {
    /// The store takes settlements under an epoch that was overtaken.
    case fencingOff = "fencing-off"
    /// The application is told "accepted" before the store has answered.
    case ackBeforeCommit = "ack-before-commit"
    /// After a GOAWAY, pushes at or below its last id are sent again as if they had been refused.
    case resendBelowGoAway = "resend-below-goaway"
    /// The gateway measures its leases by the wall clock.
    case wallClockLease = "wall-clock-lease"
    /// The gateway counts its leases as renewed and never asks the store to do so.
    case renewalForgotten = "renewal-forgotten"
    /// A settlement under an overtaken epoch replaces verdicts.
    case staleOutcomeOverwrites = "stale-outcome-overwrites"
    /// Expiry is judged by a clock that was read once, at the start.
    case expiryIgnored = "expiry-ignored"
    /// The store hands out batches before their `not_before`.
    case notBeforeIgnored = "not-before-ignored"
    /// The store says "cancelled" and keeps the push.
    case cancelForgotten = "cancel-forgotten"
    /// What APNs refused unprocessed counts as an attempt.
    case freeRetriesCounted = "free-retries-counted"
    /// Room that was reserved for a hand-off is not given back when the write fails.
    case reservationLost = "reservation-lost"
    /// The store says "settled" before it has committed.
    case settleBeforeCommit = "settle-before-commit"
    /// A later settlement under the same epoch changes a verdict.
    case verdictChanges = "verdict-changes"
    /// A write that may have happened is answered as refused.
    case unknownAnsweredRefused = "unknown-answered-refused"
    /// A drain forgets the batches that were not sent, and with them their leases.
    case drainForgetsUnsent = "drain-forgets-unsent"
    /// The store hands out batches of a paused app.
    case pauseIgnored = "pause-ignored"
    /// `Retry-After` is not read.
    case retryAfterIgnored = "retry-after-ignored"
    /// A batch that killed its holder three times is given up as a whole.
    case poisonTakesNeighbours = "poison-takes-neighbours"
    /// Suspects are asked for while others are tried.
    case mixedQuarantineTrial = "suspects-beside-suspects"
    /// The store hands out a batch that is claimed.
    case claimedByTwo = "claimed-twice"
    /// A claim does not raise the epoch.
    case epochReused = "epoch-reused"
    /// Pushes that are to be dropped when unanswered are sent again.
    case dropResent = "drop-resent"
    /// They are sent before the store knows that they are.
    case sentUnannounced = "sent-unannounced"
    /// Only the first batch of a request is written.
    case requestTorn = "request-torn"
    /// A settlement that the store could not take is not tried again.
    case outcomeForgotten = "outcome-forgotten"
}
