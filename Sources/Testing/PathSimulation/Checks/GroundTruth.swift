import APNSWire
import PushModel

/// What is true of a push, whatever the gateways believe.
struct PushGroundTruth {
    /// Told to the application as accepted, or found in the store after a broken answer.
    var verdict: Verdict?
    /// Requests written to a connection.
    var writes = 0
    /// Requests that APNs acted on by delivering the push.
    var deliveries = 0
    /// Attempts that an honest gateway may count: answered for the push's own sake, or never answered.
    var countable = 0
    /// Events after which nobody can know whether APNs has the push, or whether that was recorded.
    var ambiguities = 0
    /// Attempts that ended without an answer, by APNs' side alone.
    var unanswered = 0
    /// The lease under which it was recorded that it is about to be sent, if nothing was recorded since.
    var announcedEpoch: UInt64?
    /// The process that holds it knows that an attempt was not answered.
    var isKnownUnanswered = false
    /// It was written, and whoever wrote it is gone without having recorded what became of it.
    var isForgotten = false
    /// Written by this life of a gateway, and nothing about it is durable yet.
    var unrecordedBy: ProcessLife?
    /// APNs has rejected it for good.
    var isRejectedByAPNs = false
    /// APNs asked not to be bothered before.
    var notBeforeByAPNs: Ticks = 0
    var isCancelAcknowledged = false
    /// Somebody has asked for it to be cancelled.
    var isCancelWanted = false
    /// How often its holder died while it was tried alone.
    var deathsAlone = 0
}

/// One start of one gateway.
struct ProcessLife: Hashable {
    /// From 1.
    var gateway: Int
    var life: Int
}

/// What is true of a batch.
final class BatchGroundTruth {
    enum Answer {
        case none, accepted, refused, unknown
    }

    /// From 1, in the order of submission: the short name in traces.
    let number: Int
    let batch: Batch
    let appIndex: Int
    let submittedAt: Ticks
    var answer = Answer.none
    var isCommitted = false
    var committedAt: Ticks = 0
    /// The push whose sending kills the process.
    var poison: UInt16?
    /// Leases that have been given out, by epoch; epochs rise.
    var lastEpoch: UInt64 = 0
    var pushes: [PushGroundTruth]

    init(number: Int, batch: Batch, appIndex: Int, submittedAt: Ticks) {
        self.number = number
        self.batch = batch
        self.appIndex = appIndex
        self.submittedAt = submittedAt
        pushes = Array(repeating: PushGroundTruth(), count: batch.count)
    }

    var id: BatchID { batch.id }
    var expiresByItself: Bool { batch.notifications.entries[0].expiration > 0 }
}
