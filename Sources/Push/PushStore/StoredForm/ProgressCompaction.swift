import PushModel

extension ProgressRecord {
    /// One record with the effect of several: of each push the last outcome, and the replay, retry and announced send
    /// that came after it.
    ///
    /// - Parameter records: in order, at least one.
    package init(replacing records: [ProgressRecord]) {
        var pushes: [UInt16: Latest] = [:]
        for update in records.lazy.flatMap(\.updates) {
            for index in update.replays {
                pushes[index, default: Latest()].retry = nil
                pushes[index, default: Latest()].sentAt = nil
                pushes[index, default: Latest()].replayedAt = update.at
            }
            for index in update.sends { pushes[index, default: Latest()].sentAt = update.at }
            for outcome in update.outcomes { pushes[outcome.index] = Latest(outcome: (outcome, update.at)) }
            for retry in update.retries {
                pushes[retry.index, default: Latest()].retry = (retry, update.at)
                pushes[retry.index, default: Latest()].sentAt = nil
            }
        }
        // Of one push, an outcome comes first and an announced send last. Rows of the same kind and time are one update.
        var updates = UpdatesByTime()
        for (index, push) in pushes.sorted(by: { $0.key < $1.key }) {
            if let (outcome, at) = push.outcome { updates.add(at, .outcome) { $0.outcomes.append(outcome) } }
            if let at = push.replayedAt { updates.add(at, .replay) { $0.replays.append(index) } }
            if let (retry, at) = push.retry { updates.add(at, .retry) { $0.retries.append(retry) } }
            if let at = push.sentAt { updates.add(at, .send) { $0.sends.append(index) } }
        }
        self.init(at: records[records.count - 1].at, updates: updates.inOrder)
    }

    /// What is kept of a push.
    private struct Latest {
        var outcome: (Outcome, at: WallTime)?
        var replayedAt: WallTime?
        var retry: (Retry, at: WallTime)?
        var sentAt: WallTime?
    }

    private struct UpdatesByTime {
        enum Kind: Int, Comparable {
            case outcome, replay, retry, send

            static func < (a: Kind, b: Kind) -> Bool { a.rawValue < b.rawValue }
        }

        private struct Key: Hashable {
            var kind: Kind
            var at: WallTime
        }

        private var updates: [Key: BatchUpdate] = [:]

        mutating func add(_ at: WallTime, _ kind: Kind, _ change: (inout BatchUpdate) -> Void) {
            change(&updates[Key(kind: kind, at: at), default: BatchUpdate(at: at)])
        }

        var inOrder: [BatchUpdate] {
            updates.sorted { ($0.key.kind, $0.key.at) < ($1.key.kind, $1.key.at) }.map(\.value)
        }
    }
}
