import APNSWire
import PushModel

/// The actual state of a push, as opposed to what gateways have recorded of it.
struct PushGroundTruth {
    /// The verdict that the store has recorded.
    var verdict: Verdict?
    /// Requests written to a connection.
    var writes = 0
    /// The writes before each retry, by the due time of the retry.
    var writesAtRetry: [WallTime: Int] = [:]
    /// Deliveries by APNs.
    var deliveries = 0
    /// Attempts that a gateway may count: answered because of the push itself, or not answered.
    var countable = 0
    /// Events after which a gateway cannot know whether APNs has the push, or whether the answer was recorded.
    var ambiguities = 0
    /// Attempts without an answer, without counting crashes of gateways.
    var unanswered = 0
    /// The epoch under which a send was announced, if nothing was recorded since.
    var announcedEpoch: UInt64?
    /// Whether its current owner has seen an attempt end without an answer.
    var isKnownUnanswered = false
    /// Whether a process wrote it to a connection and crashed, or lost the lease, before it recorded the result.
    var isRecordLost = false
    /// The process that wrote it to a connection and has not recorded the result yet.
    var unrecordedBy: ProcessLife?
    /// Whether APNs gave a final rejection.
    var isRejectedByAPNs = false
    /// End of APNs' Retry-After, minus a tolerance for clock drift.
    var notBeforeByAPNs: Ticks = 0
    var isCancelConfirmed = false
    var isCancelRequested = false
    /// Crashes of its holder while it was the only push in a trial.
    var isolatedCrashes = 0
}

/// One process of a gateway, from its start to its end.
struct ProcessLife: Hashable {
    /// The gateway's number, from 1.
    var gateway: Int
    /// Changes at each start and end.
    var life: Int
}

/// The actual state of a batch.
final class BatchGroundTruth {
    /// What the application received for its request.
    enum Response {
        case none, accepted, refused, unknown
    }

    /// From 1, in the order of submission. Identifies the batch in traces.
    let number: Int
    let batch: Batch
    let appIndex: Int
    let submittedAt: Ticks
    var response = Response.none
    var isCommitted = false
    var committedAt: Ticks = 0
    /// The push that crashes the process that sends it.
    var poison: UInt16?
    /// The epoch of the last lease.
    var lastEpoch: UInt64 = 0
    var pushes: [PushGroundTruth]
    /// Leases of which a push was sent and that ended without a release.
    var crashes = 0

    init(number: Int, batch: Batch, appIndex: Int, submittedAt: Ticks) {
        self.number = number
        self.batch = batch
        self.appIndex = appIndex
        self.submittedAt = submittedAt
        pushes = Array(repeating: PushGroundTruth(), count: batch.count)
    }

    var id: BatchID { batch.id }

    /// Whether any push expires within the time of a run.
    var expires: Bool { batch.notifications.entries.contains { $0.expiration >= 0 } }

    /// When a push expires; nil: not within the time of a run.
    func deadline(of index: UInt16) -> WallTime? {
        switch batch.notifications.entries[Int(index)].expiration {
        case 0: batch.due(of: index) + .seconds(30)
        case let expiration where expiration > 0: WallTime(seconds: expiration)
        default: nil
        }
    }
}
