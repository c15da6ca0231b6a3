import HTTPTypes
package import PushStore

/// Where accept writes and reads. One object may be all of it; what a store cannot do is answered with 501.
package struct AcceptStores: Sendable {
    package var queue: any DurableQueue
    package var outcomes: any OutcomeStore
    /// `queue` again, if it remembers answers.
    package var idempotent: (any IdempotentQueue)?
    package var control: (any QueueControl)?
    package var deadLetters: (any DeadLetterStore)?

    package init(
        queue: any DurableQueue, outcomes: any OutcomeStore, idempotent: (any IdempotentQueue)? = nil,
        control: (any QueueControl)? = nil, deadLetters: (any DeadLetterStore)? = nil
    ) {
        self.queue = queue
        self.outcomes = outcomes
        self.idempotent = idempotent
        self.control = control
        self.deadLetters = deadLetters
    }
}

extension Problem {
    /// - Parameter what: completes "the store of this gateway cannot".
    init(cannot what: String) {
        self.init(.notImplemented, nil, "the store of this gateway cannot \(what)")
    }
}
