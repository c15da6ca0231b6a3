import Synchronization

/// What an `APNSClient` shares between its callers and its event loop.
final class ClientShared: Sendable {
    private let queuedMax: Int
    private let queued = Atomic<Int>(0)
    private let closed = Atomic<Bool>(false)
    private let published = Mutex(APNSClientSnapshot())

    init(queuedMax: Int) {
        self.queuedMax = queuedMax
    }

    /// Counts pushes that want to come in.
    ///
    /// - Returns: false when there is no room. They are counted all the same, until `release` says that they were answered.
    func admit(_ count: Int) -> Bool {
        queued.add(count, ordering: .relaxed).newValue <= queuedMax
    }

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
