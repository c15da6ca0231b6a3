package import APNSWire

/// Accepted pushes whose verdict is not known yet, first in, first out: 16 bytes each.
package struct PendingPushes {
    private var ids: [APNSID] = []
    private var head = 0
    /// Pushes put back one after the other without a verdict among them.
    package private(set) var idleCount = 0
    /// How many of those wait for their `not_before`.
    package private(set) var idleScheduledCount = 0

    package init() {}

    package var count: Int { ids.count - head }
    package var isEmpty: Bool { count == 0 }
    /// Every one has been asked for since the last verdict.
    package var isIdle: Bool { idleCount >= count }
    /// Every one waits for its time: nothing more is going to happen soon.
    package var isAllScheduled: Bool { isIdle && idleScheduledCount >= count }

    package mutating func append(_ id: APNSID) {
        ids.append(id)
    }

    /// Takes the next ones to ask for.
    package mutating func take(upTo limit: Int) -> [APNSID] {
        let end = min(ids.count, head + limit)
        let taken = Array(ids[head..<end])
        head = end
        // Moving the rest down costs as much as was taken since the last time.
        if head > 4096, head > ids.count / 2 {
            ids.removeFirst(head)
            head = 0
        }
        return taken
    }

    /// Gives back those that have no verdict yet.
    ///
    /// - Parameter scheduled: how many of them wait for their `not_before`.
    package mutating func putBack(_ unsettled: [APNSID], scheduled: Int, settled: Int) {
        ids.append(contentsOf: unsettled)
        idleCount = settled > 0 ? 0 : idleCount + unsettled.count
        idleScheduledCount = settled > 0 ? 0 : idleScheduledCount + scheduled
        // A push that has moved on from `scheduled` starts the count again, else old looks would be counted.
        if scheduled < unsettled.count { idleScheduledCount = 0 }
        if idleCount > count { (idleCount, idleScheduledCount) = (count, min(idleScheduledCount, count)) }
    }
}
