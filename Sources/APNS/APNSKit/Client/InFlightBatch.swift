package import APNSWire
package import NIOCore

/// A batch on its way through the client: which of its pushes are still to be sent, and the answers not yet handed on.
///
/// Used on the client's event loop only.
package final class InFlightBatch {
    /// A push that the server did not process is sent again this often before the caller hears of it.
    package static let movesMax: UInt8 = 20

    package let batch: NotificationBatch
    /// Differs from every other batch of the client; cheaper to compare than headers.
    package let serial: UInt64
    package let deadline: NIODeadline
    package let receiver: any APNSAnswerReceiver
    /// Pushes that have no answer yet.
    package private(set) var unanswered: Int

    /// Where the core keeps it.
    package var place = 0

    private let indexes: [UInt16]?
    private let count: Int
    private var cursor = 0
    private var pending: APNSAnswers
    /// How often each push was moved; empty until one is.
    private var moves: [UInt8] = []

    package init(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, serial: UInt64, deadline: NIODeadline,
        receiver: any APNSAnswerReceiver
    ) {
        self.batch = batch
        self.indexes = indexes
        self.serial = serial
        self.deadline = deadline
        self.receiver = receiver
        count = indexes?.count ?? batch.count
        unanswered = count
        pending = APNSAnswers(ticket: ticket)
    }

    /// The push that was not yet taken, in order; nil when all were.
    package var next: UInt16? {
        guard cursor < count else { return nil }
        return indexes?[cursor] ?? UInt16(truncatingIfNeeded: cursor)
    }

    /// Pushes that `next` has yet to name.
    package var untaken: Int { count - cursor }

    package func advance() { cursor += 1 }

    /// Counts a move of a push.
    ///
    /// - Returns: how often it has been moved now; nil when it was moved as often as it may be.
    package func countRequeue(of index: UInt16) -> UInt8? {
        if moves.isEmpty { moves = [UInt8](repeating: 0, count: batch.count) }
        guard moves[Int(index)] < Self.movesMax else { return nil }
        moves[Int(index)] += 1
        return moves[Int(index)]
    }

    /// - Parameters:
    ///   - latency: milliseconds since the push was written.
    ///   - unknownReason: the text, when `answer.reason` is `unknown`.
    package func answer(_ answer: APNSAnswer, of index: UInt16, latency: UInt32, unknownReason: String? = nil) {
        precondition(unanswered > 0, "more answers than pushes")
        if pending.indexes.isEmpty { reserve() }
        pending.append(answer, of: index, latency: latency)
        if let unknownReason { pending.unknownReasons[index] = unknownReason }
        unanswered -= 1
    }

    private func reserve() {
        pending.indexes.reserveCapacity(unanswered)
        pending.answers.reserveCapacity(unanswered)
        pending.latencies.reserveCapacity(unanswered)
    }

    /// The answers since the last call; nil when there is nothing new to say.
    package func takeAnswers() -> APNSAnswers? {
        guard unanswered == 0 || !pending.indexes.isEmpty else { return nil }
        var answers = APNSAnswers(ticket: pending.ticket)
        swap(&answers, &pending)
        answers.isLast = unanswered == 0
        return answers
    }
}
