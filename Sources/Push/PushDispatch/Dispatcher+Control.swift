import Logging
package import PushModel
import PushOutcome
import PushStore
import Synchronization

extension Dispatcher {
    // MARK: What can be told

    /// Why pushes of `app` that are accepted now would not be sent at once; nil when they would. Cheap enough to be asked
    /// for every batch.
    package func delay(of app: AppID) -> DeliveryDelay? {
        guard hasDelays.load(ordering: .relaxed) else { return nil }
        return delays.withLock { $0[app] }
    }

    /// How it stands with the way to APNs of an app.
    package func breakerState(of app: AppID) -> Breaker.State { core.withLock { $0.breakerState(of: app) } }

    // MARK: Control

    /// Stops or resumes the sends of an app; what was not sent goes back to the store.
    package func setPaused(_ isPaused: Bool, app: AppID) {
        tell { core, now, effects in core.setPaused(isPaused, app: app, now: now, &effects) }
    }

    /// The same for all apps, at the start.
    package func setPausedApps(_ apps: some Sequence<AppID>) {
        for app in apps { setPaused(true, app: app) }
    }

    private func cancel(_ cancelled: DispatchStateMachine.Cancelled) async -> [Settlement] {
        let settlements = tell { core, now, _ in core.cancel(cancelled, now: now) }
        guard !settlements.isEmpty else { return [] }
        do {
            let stale = try await queue.settle(settlements)
            let taken = settlements.filter { !stale.contains($0.lease) }
            if !stale.isEmpty { refused(stale) }
            settled(taken.filter { $0.release.isEnd }.map(\.lease))
            counters.cancelledInMemory.add(taken.reduce(0) { $0 + $1.outcomes.count }, ordering: .relaxed)
            return taken
        } catch {
            // Nobody knows whether the store has it. It will be recorded, but not in time to promise it.
            logger.warning("cancelled pushes could not be recorded, trying again", metadata: ["error": "\(error)"])
            for settlement in settlements { recorder.record(settlement) }
            return []
        }
    }
}

extension Dispatcher: ClaimedBatchCanceller {
    package func cancel(ids: [PushID]) async -> Set<PushID> {
        let taken = await cancel(.ids(ids))
        return Set(
            taken.flatMap { settlement in settlement.outcomes.map { settlement.lease.batch.push(Int($0.index)) } })
    }

    package func cancel(request: String) async -> Int {
        await cancel(.request(request)).reduce(0) { $0 + $1.outcomes.count }
    }

    package func cancel(app: AppID) async -> Int {
        await cancel(.app(app)).reduce(0) { $0 + $1.outcomes.count }
    }
}
