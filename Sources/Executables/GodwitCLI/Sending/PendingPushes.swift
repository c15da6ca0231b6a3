/// Accepted pushes without a known verdict: a FIFO queue with 32 bytes per push.
package struct PendingPushes {
    private var pushes: [SentPush] = []
    private var head = 0
    /// Pushes requeued in a row since the last verdict.
    package private(set) var idleCount = 0
    /// How many of those wait for their `not_before`.
    package private(set) var idleScheduledCount = 0

    package init() {}

    package var count: Int { pushes.count - head }
    package var isEmpty: Bool { count == 0 }
    /// Whether every push was queried since the last verdict.
    package var isIdle: Bool { idleCount >= count }
    /// Whether every push waits for its `not_before`, so that no verdict is expected soon.
    package var isAllScheduled: Bool { isIdle && idleScheduledCount >= count }

    package mutating func append(_ push: SentPush) {
        pushes.append(push)
    }

    /// Removes and returns the next pushes to query.
    package mutating func removeFirst(upTo limit: Int) -> [SentPush] {
        let end = min(pushes.count, head + limit)
        let removed = Array(pushes[head..<end])
        head = end
        // Amortized: compaction costs no more than the removals since the last one.
        if head > 4096, head > pushes.count / 2 {
            pushes.removeFirst(head)
            head = 0
        }
        return removed
    }

    /// Appends pushes that were queried and have no verdict yet.
    ///
    /// - Parameters:
    ///   - scheduled: how many of them wait for their `not_before`.
    ///   - settled: how many pushes of the same query have a verdict.
    package mutating func requeue(_ unsettled: [SentPush], scheduled: Int, settled: Int) {
        pushes.append(contentsOf: unsettled)
        idleCount = settled > 0 ? 0 : idleCount + unsettled.count
        idleScheduledCount = settled > 0 ? 0 : idleScheduledCount + scheduled
        // A push that is no longer `scheduled` restarts the count; earlier polls may be outdated.
        if scheduled < unsettled.count { idleScheduledCount = 0 }
        if idleCount > count { (idleCount, idleScheduledCount) = (count, min(idleScheduledCount, count)) }
    }
}
