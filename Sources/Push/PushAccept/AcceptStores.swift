import HTTPTypes
package import PushStore

/// The stores of acceptance. One object may implement all of them; a missing one results in 501.
package struct AcceptStores: Sendable {
    package var queue: any DurableQueue
    package var outcomes: any OutcomeStore
    /// `queue`, if it can store responses.
    package var idempotent: (any IdempotentQueue)?
    package var control: (any QueueControl)?
    package var deadLetters: (any DeadLetterStore)?
    package var search: (any MessageSearch)?

    package init(
        queue: any DurableQueue, outcomes: any OutcomeStore, idempotent: (any IdempotentQueue)? = nil,
        control: (any QueueControl)? = nil, deadLetters: (any DeadLetterStore)? = nil,
        search: (any MessageSearch)? = nil
    ) {
        self.queue = queue
        self.outcomes = outcomes
        self.idempotent = idempotent
        self.control = control
        self.deadLetters = deadLetters
        self.search = search
    }
}

extension Problem {
    /// - Parameter operation: completes "the store of this gateway cannot".
    init(unsupported operation: String) {
        self.init(.notImplemented, nil, "the store of this gateway cannot \(operation)")
    }
}
