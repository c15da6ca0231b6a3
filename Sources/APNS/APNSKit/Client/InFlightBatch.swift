package import APNSWire
package import NIOCore

/// A batch inside the client: its pushes that are still to be sent, and its answers that are not yet delivered.
///
/// Used on the client's event loop only.
package final class InFlightBatch {
    /// How often a push that servers did not process is requeued before it is reported.
    package static let requeuesMax: UInt8 = 5

    package let batch: NotificationBatch
    /// Unique among the client's batches. Cheaper to compare than headers.
    package let serial: UInt64
    /// When the client got the batch.
    package let queuedAt: NIODeadline
    /// A push that is not written by then is reported.
    package let waitUntil: NIODeadline
    /// How long a push waits for its answer after it was written.
    package let answerTimeout: TimeAmount
    package let receiver: any APNSAnswerReceiver
    /// Pushes that have no answer yet.
    package private(set) var unanswered: Int

    /// Whether nothing waits for the answers any more. Its pushes are not sent again.
    package var isCancelled = false

    /// The index of this batch in the engine's list.
    package var slot = 0

    private let indexes: [UInt16]?
    private let count: Int
    private var cursor = 0
    private var pending: APNSAnswers
    /// How often each push was requeued; empty until one is.
    private var requeues: [UInt8] = []

    package init(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, serial: UInt64, queuedAt: NIODeadline = .now(),
        waitUntil: NIODeadline,
        answerTimeout: TimeAmount, receiver: any APNSAnswerReceiver
    ) {
        self.batch = batch
        self.indexes = indexes
        self.serial = serial
        self.queuedAt = queuedAt
        self.waitUntil = waitUntil
        self.answerTimeout = answerTimeout
        self.receiver = receiver
        count = indexes?.count ?? batch.count
        unanswered = count
        pending = APNSAnswers(ticket: ticket)
    }

    /// The index of the next push that no connection has taken; nil when all are taken.
    package var next: UInt16? {
        guard cursor < count else { return nil }
        return indexes?[cursor] ?? UInt16(truncatingIfNeeded: cursor)
    }

    /// Pushes that no connection has taken.
    package var untaken: Int { count - cursor }

    package func advance() { cursor += 1 }

    /// Counts a requeue of a push.
    ///
    /// - Returns: how often the push has been requeued; nil when it has reached `requeuesMax`.
    package func countRequeue(of index: UInt16) -> UInt8? {
        if requeues.isEmpty { requeues = [UInt8](repeating: 0, count: batch.count) }
        guard requeues[Int(index)] < Self.requeuesMax else { return nil }
        requeues[Int(index)] += 1
        return requeues[Int(index)]
    }

    /// Adds the answer to one push.
    ///
    /// - Parameters:
    ///   - latency: milliseconds since the push was written.
    ///   - unknownReason: the text, when `answer.reason` is `unknown`.
    ///   - uniqueID: `apns-unique-id` of the answer.
    package func answer(
        _ answer: APNSAnswer, of index: UInt16, latency: UInt32, unknownReason: String? = nil, uniqueID: String? = nil
    ) {
        precondition(unanswered > 0, "more answers than pushes")
        if pending.indexes.isEmpty { reserve() }
        pending.append(answer, of: index, latency: latency)
        if let unknownReason { pending.unknownReasons[index] = unknownReason }
        if let uniqueID { pending.uniqueIDs[index] = uniqueID }
        unanswered -= 1
    }

    private func reserve() {
        pending.indexes.reserveCapacity(unanswered)
        pending.answers.reserveCapacity(unanswered)
        pending.latencies.reserveCapacity(unanswered)
    }

    /// The answers added since the last call; nil without new answers, unless the batch is complete.
    package func takeAnswers() -> APNSAnswers? {
        guard unanswered == 0 || !pending.indexes.isEmpty else { return nil }
        var answers = APNSAnswers(ticket: pending.ticket)
        swap(&answers, &pending)
        answers.isLast = unanswered == 0
        return answers
    }
}
