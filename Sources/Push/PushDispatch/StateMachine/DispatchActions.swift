package import APNSWire
package import PushModel
package import PushStore

/// What is to be done after an event. `Dispatcher` does it, in the order of the fields.
package struct DispatchActions: Sendable {
    /// News of a batch for the store.
    package struct News: Sendable {
        package var settlement: Settlement
        package var acceptedAt: WallTime
    }

    /// Pushes to be handed to the app's client.
    package struct Send: Sendable {
        package var ticket: UInt64
        package var app: AppID
        package var batch: NotificationBatch
        /// nil: all of them.
        package var indexes: [UInt16]?
        /// How long they may wait for their answers.
        package var deadline: Duration

        package var count: Int { indexes?.count ?? batch.count }
    }

    /// What those who watch should know; no event changes what is done.
    package enum Event: Sendable, Equatable {
        /// Answers for batches that are no longer ours; they changed nothing.
        case late(pushes: Int)
        /// Attempts that were written and not answered.
        case ambiguous(pushes: Int)
        case leasesLost(batches: Int)
        /// The breaker of an environment has changed; `closed` and `halfOpen` are the better news.
        case environment(String, Breaker.State)
        /// The breaker of an app alone has changed.
        case app(AppID, Breaker.State)
        case credentialRefused(AppID)
        case credentialAccepted(AppID)
        /// Pushes that wait because too many were sent again already.
        case overBudget(pushes: Int)
        /// A batch waits because its app sends as much as it may.
        case rateWait
        /// An app sent so many pushes in a minute, and none was delivered.
        case nothingDelivered(AppID, pushes: Int)
    }

    package var news: [News] = []
    package var sends: [Send] = []
    package var events: [Event] = []
    /// It is worth asking the store for batches now.
    package var wantsClaim = false
    /// The apps whose pushes will not be sent at once, when that has changed.
    package var delays: [AppID: DeliveryDelay]?

    package init() {}
}
