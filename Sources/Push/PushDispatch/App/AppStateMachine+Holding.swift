import PushModel
import PushStore

// A batch is claimed when its first push is due. Its other pushes are held under the same lease and sent when they are
// due, and so are pushes that wait for the retry budget. A batch with a wait of more than `heldMax`, or more held pushes
// than the shares of the capacity allow, leaves them to the store instead: they are claimed again when they are due.

extension AppStateMachine {
    // MARK: Held pushes

    /// Holds pushes that were neither ready nor held, or leaves them to the store.
    ///
    /// - Returns: whether they are held.
    @discardableResult
    mutating func hold(_ pushes: [BatchWork.HeldPush], of key: UInt64, now: Moment) -> Bool {
        let first = pushes.lazy.map(\.wake).min() ?? now.monotonic
        let isSoon = first - now.monotonic <= DispatchConfiguration.heldMax && !works[key]!.claimed.isQuarantined
        let isHeld = isSoon && shared.withLock { $0.hold(pushes.count, of: number) }
        if isHeld {
            setHeld(works[key]!.held + pushes, of: key)
        } else {
            drop(pushes.count, of: key)
        }
        return isHeld
    }

    /// Makes held pushes ready that are due.
    mutating func wake(now: Moment) {
        // The oldest batch becomes the first of its queue.
        for key in dueBatches(now: now.monotonic).reversed() {
            let work = works[key]!
            let woken = work.held.lazy.filter { $0.wake <= now.monotonic }.map(\.push)
            let ready = (work.readyPushes + woken).sorted { $0.index < $1.index }
            setHeld(work.held.filter { $0.wake > now.monotonic }, of: key)
            setReady(ready, of: key, isFirst: true)
            if let next = wakes[key], next - now.monotonic > DispatchConfiguration.heldMax { dropHeld(key) }
        }
    }

    private mutating func dropHeld(_ key: UInt64) {
        let count = works[key]!.held.count
        setHeld([], of: key)
        drop(count, of: key)
    }

    /// Holds the ready retries of a batch that exceed the retry budget, or returns them to the store unchanged.
    mutating func holdOverBudget(_ key: UInt64, now: Moment, _ actions: inout DispatchActions) {
        // A fresh batch, the common case, has no retries.
        let retries = works[key]?.ready?.count { $0.isResend } ?? 0
        guard retries > 0, let ready = works[key]?.ready else { return }
        retriedAt = now.monotonic
        var left = budget.available(now: now.monotonic)
        guard left < retries else { return }
        var (allowed, excess): ([PendingPush], [PendingPush]) = ([], [])
        for push in ready {
            if !push.isResend || left > 0 { allowed.append(push) } else { excess.append(push) }
            if push.isResend { left -= 1 }
        }
        actions.events.append(.retryBudgetExhausted(pushes: excess.count))
        setReady(allowed, of: key)
        // A random time, so that such batches do not become ready together.
        let wake = now.monotonic + .seconds(0.5 + generator.nextUnit() / 2)
        let isHeld = hold(excess.map { BatchWork.HeldPush(push: $0, wake: wake) }, of: key, now: now)
        guard !isHeld, let work = works[key], work.isFinished else { return }
        _ = finish(key)
        let due = now.wall + .seconds(1 + 4 * generator.nextUnit())
        append(to: &actions, work, release: .postpone(until: due), now: now)
    }

    // MARK: Settling unsent pushes

    /// Settles ready pushes that must not be sent: expired ones, and at-most-once pushes that an earlier owner had
    /// announced, so that it may have sent them.
    mutating func settleUnsendable(_ key: UInt64, now: Moment, _ actions: inout DispatchActions) {
        settleExpired(key, now: now, &actions)
        guard let ready = works[key]?.ready, ready.contains(where: \.isUnanswered) else { return }
        settleUnsent(key, as: .givenUp, .droppedUnanswered, attempts: 1, now: now, &actions) { $0.isUnanswered }
    }

    private mutating func settleExpired(_ key: UInt64, now: Moment, _ actions: inout DispatchActions) {
        guard let work = works[key] else { return }
        let deadlines = Deadlines(of: work.claimed.batch, policy: configuration.policy)
        // No allocation in the common case.
        let hasExpired =
            work.ready?.contains { deadlines[$0.index] <= now.wall }
            ?? (0..<UInt16(work.claimed.batch.count)).contains { deadlines[$0] <= now.wall }
        if hasExpired {
            settleUnsent(key, as: .expired, .expired, now: now, &actions) { deadlines[$0.index] <= now.wall }
        }
    }

    private static let expiryInterval: Duration = .seconds(1)

    /// Settles expired pushes of the batches that wait in memory, for example while only probes are sent. The store does
    /// the same for those that wait there.
    mutating func settleExpired(now: Moment, _ actions: inout DispatchActions) {
        guard readyPushes > 0, expiredAt.map({ now.monotonic - $0 >= Self.expiryInterval }) ?? true else { return }
        expiredAt = now.monotonic
        for key in queuedBatches { settleExpired(key, now: now, &actions) }
    }

    /// Settles those unsent pushes of a batch that `isSelected` selects, without sending them.
    ///
    /// - Parameters:
    ///   - attempts: added to the recorded attempts.
    ///   - endsLease: whether to end the lease if the batch has no other pushes left.
    mutating func settleUnsent(
        _ key: UInt64, as verdict: Verdict, _ code: ErrorCode, attempts: UInt16 = 0, endsLease: Bool = true,
        now: Moment, _ actions: inout DispatchActions, where isSelected: (PendingPush) -> Bool
    ) {
        let work = works[key]!
        let ready = work.readyPushes
        let selected = ready.filter(isSelected) + work.held.lazy.map(\.push).filter(isSelected)
        guard !selected.isEmpty else { return }
        setReady(ready.filter { !isSelected($0) }, of: key)
        setHeld(work.held.filter { !isSelected($0.push) }, of: key)
        let outcomes = selected.map { push in
            verdict == .expired
                ? push.expired()
                : Outcome(index: push.index, verdict: verdict, code: code, attempts: push.attempts + attempts)
        }
        append(to: &actions, work, outcomes: outcomes, release: endsLease ? finish(key) : .keep, now: now)
    }

    // MARK: Returning to the store

    /// Returns all unsent pushes of the app to the store, unchanged.
    mutating func returnUnsent(now: Moment, _ actions: inout DispatchActions) {
        guard readyPushes + heldPushes > 0 else { return }
        for key in works.values.filter({ $0.unsentCount > 0 }).map(\.key).sorted() {
            returnUnsent(key, now: now, &actions)
        }
        shared.withLock { $0.assumeBacklog(of: number) }
    }

    /// Returns the unsent pushes of a batch to the store, unchanged: immediately, or with the last answer of the pushes
    /// in flight.
    mutating func returnUnsent(_ key: UInt64, now: Moment, _ actions: inout DispatchActions) {
        let work = works[key]!
        setReady([], of: key)
        setHeld([], of: key)
        let release = finish(key)
        if release.endsLease {
            append(to: &actions, work, release: release, now: now)
        } else {
            drop(work.unsentCount, of: key)
        }
    }

    /// Returns the unsent pushes of a batch to the store, due after `pause`.
    mutating func retryAll(
        _ key: UInt64, code: ErrorCode, after pause: Duration, now: Moment, _ actions: inout DispatchActions
    ) {
        let work = works[key]!
        let due = now.wall + pause
        let retries = (work.readyPushes + work.held.map(\.push)).map {
            Retry(index: $0.index, code: code, attempts: $0.attempts, due: due)
        }
        setReady([], of: key)
        setHeld([], of: key)
        append(to: &actions, work, retries: retries, release: finish(key), now: now)
    }

    /// Appends a settlement of a batch to the actions.
    mutating func append(
        to actions: inout DispatchActions, _ work: BatchWork, outcomes: [Outcome] = [], retries: [Retry] = [],
        sends: [UInt16] = [], release: Settlement.Release, now: Moment
    ) {
        if release == .keep { works[work.key]?.hasSettlements = true }
        actions.settlements.append(
            DispatchActions.SettlementWrite(
                settlement: Settlement(
                    lease: work.claimed.lease, outcomes: outcomes, retries: retries, sends: sends, release: release,
                    at: now.wall
                ),
                acceptedAt: work.claimed.batch.acceptedAt
            )
        )
    }
}
