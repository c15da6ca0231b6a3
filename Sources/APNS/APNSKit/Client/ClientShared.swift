import Synchronization

/// The state that an `APNSClient` shares between its callers and its event loop.
final class ClientShared: Sendable {
    private let queuedMax: Int
    private let queued = Atomic<Int>(0)
    private let closed = Atomic<Bool>(false)
    private let published = Mutex(APNSClientSnapshot())

    init(queuedMax: Int) {
        self.queuedMax = queuedMax
    }

    /// Counts pushes that enter the client.
    ///
    /// - Returns: false when the client is full. The pushes are counted in any case, until `release`.
    func admit(_ count: Int) -> Bool {
        queued.add(count, ordering: .relaxed).newValue <= queuedMax
    }

    /// To be called when `count` pushes have been reported.
    func release(_ count: Int) {
        queued.subtract(count, ordering: .relaxed)
    }

    func markClosed() { closed.store(true, ordering: .relaxed) }

    var isClosed: Bool { closed.load(ordering: .relaxed) }

    func publish(_ snapshot: APNSClientSnapshot) {
        published.withLock { $0 = snapshot }
    }

    var snapshot: APNSClientSnapshot { published.withLock { $0 } }
}
