import PushModel
import PushStore

/// Checks of the whole system, once per second and at the end of a run.
enum Audit {
    /// Each durable push is either in the queue or settled.
    static func conservation(_ simulation: Simulation) {
        for row in simulation.store.live {
            let open = row.truth.pushes.reduce(0) { $0 + ($1.verdict == nil ? 1 : 0) }
            if open != row.ledger.unsettled {
                simulation.checker.fail(
                    .conservation,
                    "batch \(row.truth.number) has \(row.ledger.unsettled) pushes in the queue, but \(open) are unsettled"
                )
            }
        }
        let committed = simulation.checker.batches.reduce(0) { $0 + ($1.isCommitted ? $1.pushes.count : 0) }
        let live = simulation.store.live.reduce(0) { $0 + $1.ledger.unsettled }
        if committed != live + simulation.checker.ended {
            simulation.checker.fail(
                .conservation,
                "\(committed) pushes are durable, \(live) are queued and \(simulation.checker.ended) are settled")
        }
    }

    /// A push that waits gets its verdict soon after its expiration, also while nothing is claimed.
    static func expiry(_ simulation: Simulation) {
        guard !simulation.plan.faults.contains(where: \.affectsClock) else { return }
        for row in simulation.store.live where row.lease == nil && row.truth.expires {
            let waitingSince = row.waitingSince ?? simulation.now
            row.waitingSince = waitingSince
            for push in row.ledger.pending(until: .distantFuture) {
                guard let deadline = row.truth.deadline(of: push.index) else { continue }
                let late = Int(simulation.wall.milliseconds - deadline.milliseconds) * .millisecond
                let since = max(waitingSince, simulation.now - late)
                guard since < simulation.now, simulation.hadTimeToExpire(since: since) else { continue }
                simulation.checker.fail(
                    .expiry, "push \(row.truth.number)/\(push.index) waits \(late / .second) s after its expiration")
            }
        }
    }

    static func isIdle(_ simulation: Simulation) -> Bool {
        simulation.store.live.isEmpty && simulation.gateways.allSatisfy(\.isIdle)
    }

    /// After the faults, due pushes are settled in time and gateways become idle.
    static func progress(_ simulation: Simulation, healedAt: Ticks) {
        let wall = simulation.store.wall
        for row in simulation.store.live {
            let late = Int(wall.milliseconds - row.due.milliseconds) * .millisecond
            let wait = min(late, simulation.now - healedAt)
            if wait > timeout(simulation) {
                simulation.checker.fail(
                    .progress, "batch \(row.truth.number) has been due for \(late / .second) s and is not settled")
            }
        }
        if let emptySince = simulation.store.emptySince,
            simulation.now - max(emptySince, healedAt) > timeout(simulation)
        {
            let busy = simulation.gateways.filter { !$0.isIdle }
            for gateway in busy {
                simulation.checker.memoryWhenIdle(of: gateway.number, pushes: gateway.pushesInMemory)
                simulation.checker.fail(.progress, "gateway \(gateway.number) does not become idle")
            }
        }
    }

    /// Covers 60 s, the lease of a crashed process, and the longest pause after a refused credential. Finding a poison
    /// push takes five leases.
    private static func timeout(_ simulation: Simulation) -> Ticks {
        (simulation.plan.faults.contains(.poison) ? 300 : 120) * .second
    }

    static func finalState(_ simulation: Simulation) {
        for truth in simulation.checker.batches {
            if truth.response == .accepted, !truth.isCommitted {
                simulation.checker.fail(.durable, "batch \(truth.number) was accepted and is not durable")
            }
            guard truth.isCommitted else { continue }
            for (index, push) in truth.pushes.enumerated() where push.verdict == nil {
                simulation.checker.fail(.conservation, "push \(truth.number)/\(index) is durable and was never settled")
            }
        }
        for gateway in simulation.gateways {
            simulation.checker.memoryWhenIdle(of: gateway.number, pushes: gateway.pushesInMemory)
        }
        if simulation.plan.faults.allSatisfy(\.affectsClock), simulation.checker.duplicates > 0 {
            simulation.checker.fail(
                .clocks, "\(simulation.checker.duplicates) duplicates in a run whose only faults are clocks")
        }
    }
}
