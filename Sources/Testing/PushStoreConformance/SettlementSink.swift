package import PushConcurrency
import PushModel
package import PushStore
package import Synchronization

/// A queue that records settlements, returns prepared claims, and fails as configured.
package final class SettlementSink: DurableQueue {
    package struct State {
        package var writes: [[Settlement]] = []
        package var failures: [QueueError] = []
        package var stale: Set<Lease> = []
        package var claimable: [ClaimedBatch] = []
        package var claimFailure: QueueError?
        package var begun: [Lease] = []
    }

    package let state = Mutex(State())
    package let wrote = AsyncSignal()

    package init() {}

    package func append(_ batches: [NewBatch]) async throws(QueueError) -> [Lease?] { throw .closed }
    package func claim(_ request: ClaimRequest) async throws(QueueError) -> [ClaimedBatch] {
        let result: Result<[ClaimedBatch], QueueError> = state.withLock { state in
            if let failure = state.claimFailure { return .failure(failure) }
            defer { state.claimable = [] }
            return .success(state.claimable)
        }
        return try result.get()
    }
    package func begun(_ leases: [Lease]) { state.withLock { $0.begun += leases } }
    package func renew(_ leases: [Lease], for duration: Duration) async throws(QueueError) -> [Lease] { [] }
    package func depth() async throws(QueueError) -> QueueDepth { QueueDepth() }

    package func settle(_ settlements: [Settlement]) async throws(QueueError) -> [Lease] {
        let result: Result<[Lease], QueueError> = state.withLock { state in
            if let failure = state.failures.popLast() { return .failure(failure) }
            state.writes.append(settlements)
            return .success(settlements.map(\.lease).filter { state.stale.contains($0) })
        }
        wrote.set()
        return try result.get()
    }
}
