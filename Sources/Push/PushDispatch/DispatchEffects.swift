import APNSWire
import PushModel
import PushQueue

/// What is to be done after an event. `Dispatcher` does it, in the order of the fields.
package struct DispatchEffects: Sendable {
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
    }

    package var news: [News] = []
    package var sends: [Send] = []
    package var events: [Event] = []
    /// It is worth asking the store for batches now.
    package var wantsClaim = false

    package init() {}
}
