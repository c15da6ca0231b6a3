import PushStore

enum Renew {
    /// - Returns: the stale leases.
    static func run(
        _ leases: [Lease], for duration: Duration, _ state: inout QueueState, clock: QueueClock
    ) -> [Lease] {
        let deadline = clock.monotonic() + duration
        return leases.filter { lease in
            guard var held = state.held[lease.batch], held.batch.epoch == lease.epoch else { return true }
            held.deadline = deadline
            state.hold(held)
            return false
        }
    }
}
