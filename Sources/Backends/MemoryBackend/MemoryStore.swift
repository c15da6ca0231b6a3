package import PushModel
package import PushStore
import Synchronization

/// The state that the instances of a fleet share: batches, leases, outcomes and control, in memory behind one lock.
///
/// For tests. It keeps every promise of the storage contracts except one: it is gone when its process ends. Each gateway
/// instance uses it through a `MemoryBackend` of its own. The store enforces leases and epochs, so that an instance
/// that lost a lease cannot write.
package final class MemoryStore: Sendable {
    /// Upper bounds of the store.
    package struct Limits: Sendable {
        /// Bytes of batches, dead letters, outcomes and idempotency records together. An append above that is refused
        /// as `full`.
        package var bytesMax = 1 << 30
        /// Bytes of batches that one claim returns. The last batch of a claim may exceed it.
        package var claimBytesMax = 16 << 20

        package init() {}
    }

    /// Measures the leases of all instances.
    let clock: QueueClock
    let limits: Limits
    let policy: DeliveryPolicy
    let state = Mutex(MemoryState())

    /// - Parameter policy: decides when a waiting push expires.
    package init(clock: QueueClock = .system, limits: Limits = Limits(), policy: DeliveryPolicy = DeliveryPolicy()) {
        self.clock = clock
        self.limits = limits
        self.policy = policy
    }

    /// Whether it holds no batch, outcome, dead letter or idempotency record.
    package var isEmpty: Bool { state.withLock { $0.isEmpty } }
}
