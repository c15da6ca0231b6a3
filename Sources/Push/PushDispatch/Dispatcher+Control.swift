import Logging
package import PushModel
import PushOutcome
import PushStore
import Synchronization

extension Dispatcher {
    // MARK: State and delays

    /// Why a push of `app` that is accepted now would not be sent immediately; nil if it would. Cheap enough to call
    /// for every batch.
    package func delay(of app: AppEnvironment) -> DeliveryDelay? { stateMachine.delay(of: app, now: clock.now) }

    /// The app's circuit-breaker state: the worst among its own breakers, its credentials and its endpoints.
    package func breakerState(of app: AppID) -> CircuitBreaker.State { stateMachine.breakerState(of: app) }

    // MARK: Control

    /// Stops or resumes sending for an app. A pause returns its unsent batches to the store.
    package func setPaused(_ isPaused: Bool, app: AppID) { apply { $0.setPaused(isPaused, app: app, now: $1, &$2) } }

    /// Pauses `apps` at the start.
    package func setPausedApps(_ apps: some Sequence<AppID>) {
        for app in apps { setPaused(true, app: app) }
    }

    private func cancel(_ selection: DispatchStateMachine.CancelSelection) async -> [Settlement] {
        let settlements = stateMachine.cancel(selection, now: clock.now)
        guard !settlements.isEmpty else { return [] }
        // After the write: releases of batches with earlier settlements go through the recorder, behind those.
        defer { apply { $0.cancelled(settlements.map(\.lease), now: $1, &$2) } }
        do {
            let stale = try await queue.settle(settlements)
            let written = settlements.filter { !stale.contains($0.lease) }
            if !stale.isEmpty { refused(stale) }
            settled(written.filter { $0.release.endsLease }.map(\.lease))
            counters.cancelledInMemory.add(written.reduce(0) { $0 + $1.outcomes.count }, ordering: .relaxed)
            return written
        } catch {
            // The write may have happened. The recorder repeats it, but the caller cannot be promised a cancellation.
            logger.warning("writing cancellations failed, retrying", metadata: ["error": "\(error)"])
            for settlement in settlements { recorder.record(settlement) }
            return []
        }
    }
}

extension Dispatcher: ClaimedBatchCanceller {
    package func cancel(ids: [PushID]) async -> Set<PushID> {
        let settlements = await cancel(.ids(ids))
        return Set(
            settlements.flatMap { settlement in settlement.outcomes.map { settlement.lease.batch.push(Int($0.index)) } }
        )
    }

    package func cancel(request: String) async -> Int {
        await cancel(.request(request)).reduce(0) { $0 + $1.outcomes.count }
    }

    package func cancel(app: AppID) async -> Int {
        await cancel(.app(app)).reduce(0) { $0 + $1.outcomes.count }
    }
}
