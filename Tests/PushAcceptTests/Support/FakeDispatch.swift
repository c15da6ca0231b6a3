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

    func reserve(pushes: Int, for app: AppID, lane: Lane) -> HandoffReservation? {
        guard hasCapacity else { return nil }
        state.withLock { $0.reserved += pushes }
        return HandoffReservation(app: app, lane: lane, pushes: pushes, since: .zero)
    }
    func cancel(_ capacity: HandoffReservation) { state.withLock { $0.cancelled += capacity.pushes } }
    func deliver(_ batch: ClaimedBatch, to capacity: HandoffReservation) {
        state.withLock { $0.handedOver += batch.batch.count }
    }
    func notifyBacklog(of app: AppID, lane: Lane) { state.withLock { $0.waits += 1 } }
}

/// Takes back the pushes that it was made with.
final class FakeInMemoryCancel: ClaimedBatchCanceller {
    private let claimed: Mutex<Set<PushID>>

    init(claimed: Set<PushID>) {
        self.claimed = Mutex(claimed)
    }

    func cancel(ids: [PushID]) async -> Set<PushID> {
        claimed.withLock { claimed in
            let taken = claimed.intersection(ids)
            claimed.subtract(taken)
            return taken
        }
    }

    func cancel(request: String) async -> Int { takeAll() }
    func cancel(app: AppID) async -> Int { takeAll() }

    private func takeAll() -> Int {
        claimed.withLock { claimed in
            defer { claimed = [] }
            return claimed.count
        }
    }
}
