public import APNSWire
import Synchronization

extension APNSClient {
    /// Sends a whole batch and waits for every answer.
    ///
    /// Cancelling the task does not call the pushes back; the deadline bounds the wait.
    ///
    /// - Returns: one answer for each push, in the order of the batch.
    public func send(_ batch: NotificationBatch, deadline: Duration = .seconds(30)) async -> [APNSAnswer] {
        await collect(batch, deadline: deadline).answers
    }

    /// Sends one notification and waits for what APNs says to it.
    ///
    /// Cancelling the task does not call the push back; the deadline bounds the wait.
    ///
    /// - Returns: APNs' answer, which may be a refusal: see `isAccepted`.
    /// - Throws: `APNSSendError` when there is no answer. It tells whether APNs may have the push all the same.
    public func send(
        _ notification: APNSNotification, deadline: Duration = .seconds(30)
    ) async throws(APNSSendError) -> APNSResponse {
        let collected = await collect(try notification.batch(), deadline: deadline)
        let answer = collected.answers[0]
        guard answer.outcome == .answered else { throw APNSSendError(answer) }
        return APNSResponse(id: notification.id, answer: answer, unknownReason: collected.unknownReasons[0])
    }

    private func collect(_ batch: NotificationBatch, deadline: Duration) async -> AnswerCollector.Collected {
        await withCheckedContinuation { continuation in
            send(
                batch, indexes: nil, ticket: 0, deadline: deadline,
                to: AnswerCollector(count: batch.count, continuation)
            )
        }
    }
}

/// Puts the pieces of a batch's answers together.
private final class AnswerCollector: APNSAnswerReceiver {
    struct Collected: Sendable {
        var answers: [APNSAnswer]
        var unknownReasons: [UInt16: String] = [:]
    }

    private let collected: Mutex<Collected>
    private let continuation: CheckedContinuation<Collected, Never>

    init(count: Int, _ continuation: CheckedContinuation<Collected, Never>) {
        // Every place is written before the continuation goes on.
        collected = Mutex(Collected(answers: [APNSAnswer](repeating: .accepted, count: count)))
        self.continuation = continuation
    }

    func receive(_ answers: APNSAnswers) {
        let complete = collected.withLock { collected -> Collected? in
            for (index, answer) in zip(answers.indexes, answers.answers) { collected.answers[Int(index)] = answer }
            collected.unknownReasons.merge(answers.unknownReasons) { _, new in new }
            return answers.isLast ? collected : nil
        }
        if let complete { continuation.resume(returning: complete) }
    }
}
