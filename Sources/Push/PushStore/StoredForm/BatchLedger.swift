package import PushModel

/// The state of each push of one batch: settled, or when it may be tried again.
///
/// Pure. Backends fold the stored updates of a batch into it, and use it to filter what is new in a settlement.
package struct BatchLedger: Sendable, Equatable {
    /// 1...1,000.
    package let count: Int
    package private(set) var unsettled: Int
    /// When a push without a recorded retry is due.
    private let firstDue: WallTime
    /// The time of the last update that changed anything; nil: there was none.
    package private(set) var lastUpdateAt: WallTime?
    /// One bit per push; 1,024 bits inline, so that a ledger without retries allocates nothing.
    private var settledBits = SIMD16<UInt64>(repeating: 0)
    /// Parallel to the pushes; empty until the first retry, replay or announced send.
    private var waits: [Wait] = []

    private struct Wait: Sendable, Equatable {
        var attempts: UInt16 = 0
        var due: WallTime
        var isUnanswered = false
    }

    package init(count: Int, firstDue: WallTime) {
        precondition((1...1000).contains(count), "a batch has 1 to 1,000 pushes, not \(count)")
        self.count = count
        self.firstDue = firstDue
        unsettled = count
    }

    package var isFinished: Bool { unsettled == 0 }

    package func isSettled(_ index: Int) -> Bool {
        settledBits[index >> 6] & (1 << UInt64(index & 63)) != 0
    }

    /// Applies an update, and removes from it what is not new: outcomes, retries and sends of settled pushes, replays
    /// of unsettled ones.
    ///
    /// - Precondition: all indexes are below `count`.
    package mutating func record(_ update: inout BatchUpdate) {
        defer { if !update.isEmpty { lastUpdateAt = update.at } }
        if !update.replays.isEmpty { replay(&update) }
        if !update.sends.isEmpty {
            update.sends.removeAll { isSettled(checked($0)) }
            allocateWaits()
            for index in update.sends { waits[Int(index)].isUnanswered = true }
        }
        if !settleAll(update.outcomes) {
            update.outcomes.removeAll { !settle(Int($0.index)) }
        }
        guard !update.retries.isEmpty else { return }
        update.retries.removeAll { isSettled(checked($0.index)) }
        if !update.retries.isEmpty { allocateWaits() }
        for retry in update.retries {
            waits[Int(retry.index)] = Wait(attempts: retry.attempts, due: retry.due)
        }
    }

    private mutating func allocateWaits() {
        if waits.isEmpty { waits = Array(repeating: Wait(due: firstDue), count: count) }
    }

    /// Reopens settled pushes, as if they were accepted at the time of the update.
    private mutating func replay(_ update: inout BatchUpdate) {
        var replayed: [UInt16] = []
        for index in update.replays where isSettled(checked(index)) {
            settledBits[Int(index) >> 6] &= ~(1 << UInt64(index & 63))
            unsettled += 1
            replayed.append(index)
        }
        update.replays = replayed
        if !replayed.isEmpty { allocateWaits() }
        for index in replayed { waits[Int(index)] = Wait(due: update.at) }
    }

    /// The common case: nothing was settled before, and no index occurs twice.
    ///
    /// - Returns: false in any other case; then nothing has changed.
    private mutating func settleAll(_ outcomes: [Outcome]) -> Bool {
        guard unsettled == count else { return false }
        var bits = SIMD16<UInt64>(repeating: 0)
        for outcome in outcomes {
            let index = checked(outcome.index)
            let bit: UInt64 = 1 << UInt64(index & 63)
            guard bits[index >> 6] & bit == 0 else { return false }
            bits[index >> 6] |= bit
        }
        settledBits = bits
        unsettled -= outcomes.count
        return true
    }

    /// - Returns: false if it was settled before.
    private mutating func settle(_ index: Int) -> Bool {
        guard !isSettled(checked(UInt16(index))) else { return false }
        settledBits[index >> 6] |= 1 << UInt64(index & 63)
        unsettled -= 1
        return true
    }

    private func checked(_ index: UInt16) -> Int {
        precondition(index < count, "push \(index) of a batch of \(count)")
        return Int(index)
    }

    /// The unsettled pushes that are due at `now`, by ascending index.
    package func pending(at now: WallTime) -> [PendingPush] {
        var pending: [PendingPush] = []
        for index in 0..<count where !isSettled(index) {
            let wait = waits.isEmpty ? Wait(due: firstDue) : waits[index]
            guard wait.due <= now else { continue }
            pending.append(
                PendingPush(
                    index: UInt16(index), attempts: wait.attempts, due: wait.due, isUnanswered: wait.isUnanswered
                )
            )
        }
        return pending
    }

    /// When an unsettled push is due. Meaningless for a settled one.
    package func due(of index: Int) -> WallTime { waits.isEmpty ? firstDue : waits[index].due }

    /// When the first unsettled push is due; `distantFuture` if all are settled.
    package var nextDue: WallTime {
        guard !isFinished else { return .distantFuture }
        guard !waits.isEmpty else { return firstDue }
        var earliest = WallTime.distantFuture
        for index in 0..<count where !isSettled(index) { earliest = min(earliest, waits[index].due) }
        return earliest
    }

    /// The attempts of a push, settled or not, that may have reached APNs.
    package func attempts(of index: Int) -> UInt16 { waits.isEmpty ? 0 : waits[index].attempts }

    /// Outcomes that give up all unsettled pushes of a batch whose stored form cannot be read. As dead letters they
    /// keep its bytes.
    package func unreadable() -> [Outcome] {
        (0..<count).lazy.filter { !isSettled($0) }.map { index in
            Outcome(
                index: UInt16(index), verdict: .givenUp, code: .serialisation, attempts: attempts(of: index)
            )
        }
    }
}
