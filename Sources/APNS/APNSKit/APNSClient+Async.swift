public import APNSWire

extension APNSClient {
    /// Sends a batch and waits for all answers.
    ///
    /// Returns immediately when the task is cancelled. Pushes without an answer then have the failure `cancelled`: those
    /// that are not written are never sent (`neverWritten`, or `refused` if APNs has refused them before), and those that
    /// are written may still be delivered (`ambiguous`).
    ///
    /// - Parameter requestTimeout: how long each push may wait for a connection, and then as long for its answer.
    /// - Returns: one answer per push, in the order of the batch.
    public func send(_ batch: NotificationBatch, requestTimeout: Duration = .seconds(30)) async -> [APNSAnswer] {
        await collect(batch, requestTimeout).answers
    }

    /// Sends one notification and waits for the answer.
    ///
    /// Throws immediately when the task is cancelled, with the failure `cancelled`. A push that is not written is then
    /// never sent. One that is written may still be delivered; the disposition of the error is then `ambiguous`.
    ///
    /// - Parameter requestTimeout: how long the push may wait for a connection, and then as long for its answer.
    /// - Returns: the answer of APNs, which may be a rejection: see `isAccepted`.
    /// - Throws: `APNSSendError` if there is no answer. Its disposition is `ambiguous` if APNs may have accepted the
    ///   push.
    public func send(
        _ notification: APNSNotification, requestTimeout: Duration = .seconds(30)
    ) async throws(APNSSendError) -> APNSResponse {
        let collected = await collect(try notification.batch(), requestTimeout)
        let answer = collected.answers[0]
        guard answer.disposition == .answered, answer.failure == .none else { throw APNSSendError(answer) }
        return APNSResponse(id: notification.id, answer: answer, unknownReason: collected.unknownReasons[0])
    }

    private func collect(_ batch: NotificationBatch, _ timeout: Duration) async -> AnswerCollector.Collected {
        guard !Task.isCancelled else {
            let answers = [APNSAnswer](repeating: .failed(.cancelled, .neverWritten), count: batch.count)
            return AnswerCollector.Collected(answers: answers)
        }
        let collector = AnswerCollector(count: batch.count)
        send(
            batch, indexes: nil, ticket: 0, timeouts: APNSSendTimeouts(wait: timeout, answer: timeout), to: collector)
        // Entered after `send`, so that the event loop gets the batch before its cancellation.
        return await withTaskCancellationHandler {
            await collector.collected()
        } onCancel: {
            cancel(collector)
        }
    }
}
