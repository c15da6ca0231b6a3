import PushModel
import PushStore

/// What is looked at from time to time, and at the end: things that no single step shows.
enum Audit {
    /// Batches that were accepted are there, and each of their pushes is either in the queue or ended.
    static func conservation(_ world: World) {
        for row in world.store.live {
            let open = row.truth.pushes.reduce(0) { $0 + ($1.verdict == nil ? 1 : 0) }
            if open != row.ledger.unsettled {
                world.checker.fail(
                    .conservation,
                    "batch \(row.truth.number) has \(row.ledger.unsettled) pushes in the queue, \(open) have not ended")
            }
        }
        let committed = world.checker.batches.reduce(0) { $0 + ($1.isCommitted ? $1.pushes.count : 0) }
        let live = world.store.live.reduce(0) { $0 + $1.ledger.unsettled }
        if committed != live + world.checker.ended {
            world.checker.fail(
                .conservation, "\(committed) pushes are durable, \(live) wait and \(world.checker.ended) have ended")
        }
    }

    static func isAtRest(_ world: World) -> Bool {
        world.store.live.isEmpty && world.gateways.allSatisfy(\.isIdle)
    }

    /// After the faults, everything that is due ends within its time.
    static func progress(_ world: World, healedAt: Ticks) {
        let wall = world.store.wall
        for row in world.store.live {
            let late = Int(wall.milliseconds - row.due.milliseconds) * .millisecond
            let wait = min(late, world.now - healedAt)
            if wait > timeout(world) {
                world.checker.fail(
                    .progress, "batch \(row.truth.number) is due since \(late / .second) s and not ended")
            }
        }
        if let emptySince = world.store.emptySince, world.now - max(emptySince, healedAt) > timeout(world) {
            let busy = world.gateways.filter { !$0.isIdle }
            for gateway in busy {
                world.checker.memoryAtRest(of: gateway.number, pushes: gateway.pushesInMemory)
                world.checker.fail(.progress, "gateway \(gateway.number) does not come to rest")
            }
        }
    }

    /// 60 s, a lease that a dead process left behind, and the longest pause after a refused credential. What kills its
    /// holder takes five leases to be found.
    private static func timeout(_ world: World) -> Ticks {
        (world.plan.faults.contains(.poison) ? 300 : 120) * .second
    }

    static func atTheEnd(_ world: World) {
        for truth in world.checker.batches {
            if truth.answer == .accepted, !truth.isCommitted {
                world.checker.fail(.durable, "batch \(truth.number) was accepted and is lost")
            }
            guard truth.isCommitted else { continue }
            for (index, push) in truth.pushes.enumerated() where push.verdict == nil {
                world.checker.fail(.conservation, "push \(truth.number)/\(index) is durable and has no end")
            }
        }
        for gateway in world.gateways { world.checker.memoryAtRest(of: gateway.number, pushes: gateway.pushesInMemory) }
        if world.plan.faults.allSatisfy(\.isAboutClocks), world.checker.duplicates > 0 {
            world.checker.fail(.clocks, "\(world.checker.duplicates) doubles in a run whose only faults are clocks")
        }
    }
}
