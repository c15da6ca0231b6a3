package import PushModel

/// Changes to the pushes of one batch that one write records: `godwit.v1.Progress` in the stored form.
package struct BatchUpdate: Sendable, Equatable {
    /// When the changes happened.
    package var at: WallTime
    package var outcomes: [Outcome]
    package var retries: [Retry]
    /// Indexes of dead letters that returned to the queue. They apply before the outcomes and retries of the same
    /// update.
    package var replays: [UInt16]
    /// Indexes of pushes that are about to be sent. Once this is durable, the next holder finds them marked
    /// `isUnanswered`, until an outcome or a retry is recorded. They apply before the outcomes and retries of the same
    /// update.
    package var sends: [UInt16]

    package init(
        at: WallTime, outcomes: [Outcome] = [], retries: [Retry] = [], replays: [UInt16] = [], sends: [UInt16] = []
    ) {
        self.at = at
        self.outcomes = outcomes
        self.retries = retries
        self.replays = replays
        self.sends = sends
    }

    package var isEmpty: Bool { outcomes.isEmpty && retries.isEmpty && replays.isEmpty && sends.isEmpty }

    /// Adds a later update of the same batch.
    package mutating func append(_ later: BatchUpdate) {
        outcomes.append(contentsOf: later.outcomes)
        retries.append(contentsOf: later.retries)
        replays.append(contentsOf: later.replays)
        sends.append(contentsOf: later.sends)
        at = max(at, later.at)
    }
}
