package import PushModel

/// The state of each push of one batch: settled, or when it may be tried again.
///
/// Pure. Backends fold the stored updates of a batch into it, and use it to filter what is new in a settlement.
package struct BatchLedger: Sendable, Equatable {
    /// 1...1,000.
    package let count: Int
    package private(set) var unsettled: Int
    private let acceptedAt: WallTime
    private let dueTimes: PushColumn<WallTime>
    /// The time of the last update that changed anything; nil: there was none.
    package private(set) var lastUpdateAt: WallTime?
    /// Of the outcomes.
    package private(set) var outcomeKinds = OutcomeKinds()
    /// One bit per push; 1,024 bits inline, so that a ledger without retries allocates nothing.
    private var settledBits = SIMD16<UInt64>(repeating: 0)
    /// Parallel to the pushes; empty until the first retry, replay or announced send.
    private var waits: [Wait] = []
    /// When pushes were replayed last, by index: their lifetimes count from then.
    private var replayTimes: [UInt16: WallTime] = [:]

    private struct Wait: Sendable, Equatable {
        var attempts: UInt16 = 0
        var due: WallTime
        var isUnanswered = false
        var code = ErrorCode.none
    }

    /// - Parameters:
    ///   - acceptedAt: when pushes without a due time are due.
    ///   - dueTimes: of the pushes.
    package init(count: Int, acceptedAt: WallTime, dueTimes: PushColumn<WallTime> = PushColumn()) {
        precondition((1...1000).contains(count), "a batch has 1 to 1,000 pushes, not \(count)")
        precondition(dueTimes.covers(count), "a column has one value for each push")
        self.count = count
        self.acceptedAt = acceptedAt
        self.dueTimes = dueTimes
        unsettled = count
    }

    package var isFinished: Bool { unsettled == 0 }

    package func isSettled(_ index: Int) -> Bool {
        settledBits[index >> 6] & (1 << UInt64(index & 63)) != 0
    }

    /// Applies a stored record.
    package mutating func apply(_ record: ProgressRecord) {
        var hasChanged = false
        for update in record.updates {
            var update = update
            self.record(&update)
            hasChanged = hasChanged || !update.isEmpty
        }
        if hasChanged { lastUpdateAt = record.at }
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
        outcomeKinds.add(update.outcomes)
        guard !update.retries.isEmpty else { return }
        update.retries.removeAll { isSettled(checked($0.index)) }
        if !update.retries.isEmpty { allocateWaits() }
        for retry in update.retries {
            waits[Int(retry.index)] = Wait(attempts: retry.attempts, due: retry.due, code: retry.code)
        }
    }

    private mutating func allocateWaits() {
        if waits.isEmpty { waits = (0..<count).map { Wait(due: dueTimes[$0] ?? acceptedAt) } }
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
        for index in replayed {
            waits[Int(index)] = Wait(due: update.at)
            replayTimes[index] = update.at
        }
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

    /// The unsettled pushes that are due until `limit`, by ascending index.
    package func pending(until limit: WallTime) -> [PendingPush] {
        var pending: [PendingPush] = []
        for index in 0..<count where !isSettled(index) {
            let wait = waits.isEmpty ? Wait(due: dueTimes[index] ?? acceptedAt) : waits[index]
            guard wait.due <= limit else { continue }
            pending.append(
                PendingPush(
                    index: UInt16(index), attempts: wait.attempts, due: wait.due, isUnanswered: wait.isUnanswered,
                    code: wait.code
                )
            )
        }
        return pending
    }

    /// When an unsettled push is due. Meaningless for a settled one.
    package func due(of index: Int) -> WallTime { waits.isEmpty ? dueTimes[index] ?? acceptedAt : waits[index].due }

    /// When the first unsettled push is due; `distantFuture` if all are settled.
    package var nextDue: WallTime {
        guard !isFinished else { return .distantFuture }
        if waits.isEmpty, dueTimes.values == nil { return due(of: 0) }
        var earliest = WallTime.distantFuture
        for index in 0..<count where !isSettled(index) { earliest = min(earliest, due(of: index)) }
        return earliest
    }

    /// The batch with the times from which the lifetimes of its pushes count: a replay begins another one.
    package func restartingLifetimes(of batch: Batch) -> Batch {
        guard !replayTimes.isEmpty else { return batch }
        let times = (0..<count).map { index in
            (isSettled(index) ? nil : replayTimes[UInt16(index)]) ?? batch.dueTimes[index]
        }
        return batch.scheduled(PushColumn(times))
    }

    /// The attempts of a push, settled or not, that may have reached APNs.
    package func attempts(of index: Int) -> UInt16 { waits.isEmpty ? 0 : waits[index].attempts }

    /// Outcomes that give up all unsettled pushes of a batch whose stored form cannot be read. As dead letters they
    /// keep its bytes.
    package func givenUp(_ code: ErrorCode) -> [Outcome] {
        (0..<count).lazy.filter { !isSettled($0) }.map { index in
            Outcome(index: UInt16(index), verdict: .givenUp, code: code, attempts: attempts(of: index))
        }
    }
}
