/// What every queue backend must promise, clause by clause.
package enum QueueConformance {
    package static let clauses: [Clause] = append + claims + leases + settling + retries + lookups
}
