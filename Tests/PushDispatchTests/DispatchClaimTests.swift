import PushDispatch
import PushModel
import PushStore
import Testing

/// When the end of a batch leads to a claim.
@Suite struct `A claim after a settlement` {
    private let now = Moment(wall: WallTime(milliseconds: 1_000_000), monotonic: .seconds(1_000))
    private let app = AppEnvironment(AppID("a"))

    private func machine() -> DispatchStateMachine {
        DispatchStateMachine(configuration: DispatchConfiguration(), apps: [app], seed: 1)
    }

    /// Hands over a batch, and returns whether its settlement leads to a claim.
    private func claimsAfterBatch(_ machine: DispatchStateMachine) -> Bool? {
        guard let reservation = machine.reserve(pushes: 1, for: app, lane: .normal, now: now) else { return nil }
        var actions = DispatchActions()
        let batch = claimed(1)
        machine.handoffDelivered(batch, to: reservation, now: now, &actions)
        var settled = DispatchActions()
        machine.settled([batch.lease], now: now, &settled)
        return settled.wantsClaim
    }

    private func claimNothing(_ machine: DispatchStateMachine) {
        guard let plan = machine.claimPlan(now: now) else { return }
        var actions = DispatchActions()
        _ = machine.claimed([], plan: plan, requestedAt: now.monotonic, now: now, &actions)
    }

    @Test func `is made only while the store may have batches`() {
        let machine = machine()
        claimNothing(machine)
        #expect(claimsAfterBatch(machine) == false, "the last claim returned everything")
        var actions = DispatchActions()
        machine.notifyBacklog(of: app, lane: .bulk)
        #expect(claimsAfterBatch(machine) == true, "a batch was written without a hand-off")
        claimNothing(machine)
        #expect(claimsAfterBatch(machine) == false)
        machine.tick(now: now, &actions)
        #expect(actions.wantsClaim, "what has become due is claimed by the clock")
    }
}
