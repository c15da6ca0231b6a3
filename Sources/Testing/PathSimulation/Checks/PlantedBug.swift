/// Bugs that can be planted in the models and shells of the simulation, to show that its checks find them. The raw
/// values are the names for `godwit-lab simulate-path --bug`.
package enum PlantedBug: String, Sendable, CaseIterable {
    /// The store accepts settlements under an old epoch.
    case fencingOff = "fencing-off"
    /// The application receives "accepted" before the store has committed.
    case ackBeforeCommit = "ack-before-commit"
    /// After a GOAWAY, pushes at or below its last stream ID are sent again as if APNs had refused them.
    case resendBelowGoAway = "resend-below-goaway"
    /// The gateway measures its leases by the wall clock.
    case wallClockLease = "wall-clock-lease"
    /// The gateway assumes that its leases are renewed and never calls the store.
    case renewalSkipped = "renewal-skipped"
    /// A settlement under an old epoch replaces verdicts.
    case staleOutcomeOverwrites = "stale-outcome-overwrites"
    /// Expirations are compared with the wall time of the process start.
    case expiryIgnored = "expiry-ignored"
    /// The store hands out batches before their `not_before`.
    case notBeforeIgnored = "not-before-ignored"
    /// The store confirms a cancellation and keeps the push.
    case cancelIgnored = "cancel-ignored"
    /// A push that APNs refused unprocessed counts as an attempt.
    case unprocessedCounted = "unprocessed-counted"
    /// Capacity reserved for a direct hand-off is not released when the write fails.
    case reservationLost = "reservation-lost"
    /// The store confirms a settlement before it has committed.
    case settleBeforeCommit = "settle-before-commit"
    /// A later settlement under the same epoch changes a verdict.
    case verdictChanges = "verdict-changes"
    /// A write that may have happened is reported as refused.
    case unknownReportedRefused = "unknown-reported-refused"
    /// A drain drops the unsent batches without releasing their leases.
    case drainDropsUnsent = "drain-drops-unsent"
    /// The store hands out batches of a paused app.
    case pauseIgnored = "pause-ignored"
    /// `Retry-After` is not read.
    case retryAfterIgnored = "retry-after-ignored"
    /// A batch is given up as a whole at the crash that should only quarantine it.
    case poisonGivesUpBatch = "poison-gives-up-batch"
    /// Quarantined batches are claimed while others are in a trial.
    case mixedQuarantineTrial = "mixed-quarantine-trial"
    /// The store hands out a batch that is claimed.
    case claimedByTwo = "claimed-by-two"
    /// A claim does not raise the epoch.
    case epochReused = "epoch-reused"
    /// At-most-once pushes are sent again.
    case dropResent = "drop-resent"
    /// Such pushes are sent before the store has recorded the announcement.
    case sentUnannounced = "sent-unannounced"
    /// Only the first batch of a request is written.
    case requestWrittenPartly = "request-written-partly"
    /// A settlement that the store could not write is not repeated.
    case outcomeDropped = "outcome-dropped"
    /// The answer that APNs refuses the credential is read as an answer that the push is wrong.
    case refusalBlamesPush = "refusal-blames-push"
    /// Good answers to probes get lost, so that an outage never ends.
    case goodProbesLost = "good-probes-lost"
    /// No breaker opens, so that an outage uses up the attempts, of which there are three.
    case outageCostsAttempts = "outage-costs-attempts"
    /// A push expires when its next attempt would be too late, and not at its expiration.
    case expiredEarly = "expired-early"
    /// Waiting pushes expire when they are claimed, and not before.
    case expiredLate = "expired-late"
    /// A crash counts against batches of which no push was sent.
    case unbegunCounted = "unbegun-counted"
    /// A settlement that is repeated because its response was lost subtracts its pushes a second time.
    case settlementCountedTwice = "settlement-counted-twice"
    /// A claim whose response was lost is never claimable again.
    case claimLeaked = "claim-leaked"
    /// After an outage of the store every lease counts as expired.
    case takeoverAfterOutage = "takeover-after-outage"
}
