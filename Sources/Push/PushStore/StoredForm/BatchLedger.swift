package import PushModel

/// What is known of the pushes of one batch: which are settled, and when the others may be tried again.
///
/// Pure; backends fold the stored news of a batch into it, and ask it what of a settlement is new.
package struct BatchLedger: Sendable, Equatable {
    /// 1...1,000.
    package let count: Int
    package private(set) var unsettled: Int
    /// When a push is due that has no recorded retry.
    private let firstDue: WallTime
    /// The moment of the last news that told anything new; nil: there were none.
    package private(set) var lastUpdateAt: WallTime?
    /// One bit for each push; 1,024 bits in place, so that a ledger without retries allocates nothing.
    private var settledBits = SIMD16<UInt64>(repeating: 0)
    /// Parallel to the pushes once there was a retry, else empty.
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

    /// Takes in news, and drops from them what is not new: outcomes and retries of pushes that are settled already,
    /// replays of pushes that are not.
    ///
    /// - Precondition: indexes are below `count`.
    package mutating func record(_ news: inout BatchUpdate) {
        defer { if !news.isEmpty { lastUpdateAt = news.at } }
        if !news.replays.isEmpty { replay(&news) }
        if !news.sends.isEmpty {
            news.sends.removeAll { isSettled(checked($0)) }
            keepWaits()
            for index in news.sends { waits[Int(index)].isUnanswered = true }
        }
        if !takeAll(news.outcomes) {
            news.outcomes.removeAll { !settle(Int($0.index)) }
        }
        guard !news.retries.isEmpty else { return }
        news.retries.removeAll { isSettled(checked($0.index)) }
        if !news.retries.isEmpty { keepWaits() }
        for retry in news.retries {
            waits[Int(retry.index)] = Wait(attempts: retry.attempts, due: retry.due)
        }
    }

    private mutating func keepWaits() {
        if waits.isEmpty { waits = Array(repeating: Wait(due: firstDue), count: count) }
    }

    /// Makes settled pushes wait again, as if they had come at the moment of the news.
    private mutating func replay(_ news: inout BatchUpdate) {
        var replayed: [UInt16] = []
        for index in news.replays where isSettled(checked(index)) {
            settledBits[Int(index) >> 6] &= ~(1 << UInt64(index & 63))
            unsettled += 1
            replayed.append(index)
        }
        news.replays = replayed
        if !replayed.isEmpty { keepWaits() }
        for index in replayed { waits[Int(index)] = Wait(due: news.at) }
    }

    /// The common case: nothing was settled before and no index comes twice. Changes nothing when it is not that.
    private mutating func takeAll(_ outcomes: [Outcome]) -> Bool {
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

    /// - Returns: false when it was settled before.
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

    /// The unsettled pushes that are due at `now`, by index, ascending.
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

    /// When a push is due, or was; of one that is settled it means nothing.
    package func due(of index: Int) -> WallTime { waits.isEmpty ? firstDue : waits[index].due }

    /// When the first of the unsettled pushes is due; `distantFuture` when there is none.
    package var nextDue: WallTime {
        guard !isFinished else { return .distantFuture }
        guard !waits.isEmpty else { return firstDue }
        var earliest = WallTime.distantFuture
        for index in 0..<count where !isSettled(index) { earliest = min(earliest, waits[index].due) }
        return earliest
    }

    /// Attempts so far of a push, settled or not, that may have reached APNs.
    package func attempts(of index: Int) -> UInt16 { waits.isEmpty ? 0 : waits[index].attempts }

    /// Outcomes that end what is left of a batch whose stored form cannot be read; as dead letters its bytes are kept.
    package func unreadable() -> [Outcome] {
        (0..<count).lazy.filter { !isSettled($0) }.map { index in
            Outcome(
                index: UInt16(index), verdict: .givenUp, code: .serialisation, attempts: attempts(of: index)
            )
        }
    }
}
