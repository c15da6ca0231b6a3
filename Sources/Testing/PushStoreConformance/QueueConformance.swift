/// The promises of every store backend, one clause each.
package enum QueueConformance {
    package static let clauses: [Clause] =
        append + claims + schedules + environments + damage + fairness + leases + settling + retries + lookups + poison
        + deadLetters + replays + control
        + collapsing + counting + idempotency + maintenance + expiry + searches + lostResponses + instances
}
