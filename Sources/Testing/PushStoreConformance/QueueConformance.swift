/// What every queue backend must promise, clause by clause.
package enum QueueConformance {
    package static let clauses: [Clause] =
        append + claims + fairness + leases + settling + retries + lookups + poison + deadLetters + replays + control
        + collapsing + counting + idempotency + maintenance
}
