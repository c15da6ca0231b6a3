import PushModel
import PushStore
import Synchronization

/// Counts its calls.
final class FakeHandoff: DirectHandoff {
    struct Log: Sendable, Equatable {
        var reserved = 0
        var cancelled = 0
        var handedOver = 0
        var waits = 0
    }

    private let state = Mutex(Log())
    private let hasCapacity: Bool

    init(hasCapacity: Bool = true) {
        self.hasCapacity = hasCapacity
    }

    var log: Log { state.withLock { $0 } }

    func reserve(pushes: Int, for app: AppEnvironment, lane: Lane) -> HandoffReservation? {
        guard hasCapacity else { return nil }
        state.withLock { $0.reserved += pushes }
        return HandoffReservation(app: app, lane: lane, pushes: pushes, since: .zero)
    }
    func cancel(_ reservation: HandoffReservation) { state.withLock { $0.cancelled += reservation.pushes } }
    func deliver(_ batch: ClaimedBatch, to reservation: HandoffReservation) {
        state.withLock { $0.handedOver += batch.batch.count }
    }
    func notifyBacklog(of app: AppEnvironment, lane: Lane) { state.withLock { $0.waits += 1 } }
}

/// Cancels a given set of claimed pushes.
final class FakeCanceller: ClaimedBatchCanceller {
    private let claimed: Mutex<Set<PushID>>

    init(claimed: Set<PushID>) {
        self.claimed = Mutex(claimed)
    }

    func cancel(ids: [PushID]) async -> Set<PushID> {
        claimed.withLock { claimed in
            let cancelled = claimed.intersection(ids)
            claimed.subtract(cancelled)
            return cancelled
        }
    }

    func cancel(request: String) async -> Int { cancelAll() }
    func cancel(app: AppID) async -> Int { cancelAll() }

    private func cancelAll() -> Int {
        claimed.withLock { claimed in
            defer { claimed = [] }
            return claimed.count
        }
    }
}
