import APNSWire
import PushModel
import PushStore

extension AppStateMachine {
    // MARK: Answers

    /// The APNs client has reported answers to some pushes of a send.
    mutating func answered(
        _ classification: AnswerClassification, now: Moment, _ actions: inout DispatchActions
    ) {
        guard classification.count > 0 else { return }
        guard let work = removeAnswered(classification.count, of: classification.ticket) else {
            actions.events.append(.lateAnswers(pushes: classification.count))
            return
        }
        var classification = classification
        let changes = record(classification, isTrial: work.claimed.isQuarantined, now: now.monotonic)
        classification.resolve(
            for: work, policy: configuration.policy, health: changes.health, window: &refusals,
            unprocessed: &unprocessed, isAppRefused: credential.state == .refused, now: now
        )
        holdRetries(classification.retries, of: work.key, now: now)
        append(
            to: &actions, work, outcomes: classification.outcomes, retries: classification.retries,
            release: finish(work.key), now: now
        )
        if classification.ambiguous > 0 { actions.events.append(.ambiguous(pushes: classification.ambiguous)) }
        answersSinceTick += classification.count
        apply(changes, now: now, &actions)
        sendNext(now: now, &actions)
    }

    /// The client has reported answers for a batch that has left memory.
    mutating func receivedLate(_ answers: APNSAnswers) {
        _ = removeAnswered(answers.answers.count, of: answers.ticket)
    }

    /// Removes pushes of a send that are answered, or whose send is reverted.
    ///
    /// - Returns: the batch; nil if it has left memory (a late answer).
    private mutating func removeAnswered(_ count: Int, of ticket: UInt64) -> BatchWork? {
        guard let part = parts[ticket] else { return nil }
        precondition(count <= part.unanswered, "\(count) answers, \(part.unanswered) were open")
        parts[ticket] = part.unanswered == count ? nil : Part(key: part.key, unanswered: part.unanswered - count)
        guard let work = works[part.key] else { return nil }
        works[part.key]!.inFlight -= count
        inFlight[work.lane] -= count
        if work.isAtMostOnce { inFlightAtMostOnce -= count }
        return works[part.key]
    }

    /// Holds the retries of a batch that keeps its lease for other unsent pushes, so that they need not wait for its
    /// end. All other retries are claimed again from the store.
    private mutating func holdRetries(_ retries: [Retry], of key: UInt64, now: Moment) {
        guard !retries.isEmpty, let work = works[key], work.unsentCount > 0,
            // In one write, announced sends are recorded before retries. So a second announcement of a push must not
            // follow its retry in the same write.
            !work.isAtMostOnce
        else { return }
        let pushes = retries.map { retry in
            BatchWork.HeldPush(
                push: PendingPush(
                    index: retry.index, attempts: retry.attempts, due: retry.due, code: retry.code),
                wake: now.monotonic + (retry.due - now.wall)
            )
        }
        if hold(pushes, of: key, now: now) { works[key]!.setAttempts(pushes.map(\.push)) }
    }

    // MARK: At-most-once sends

    /// Records that pushes are about to be sent. The send follows in `announced`; if this process crashes in between,
    /// the next owner of the batch treats the pushes as sent.
    mutating func announce(
        _ send: DispatchActions.Send, of key: UInt64, now: Moment, _ actions: inout DispatchActions
    ) {
        announcing[send.lease] = send
        // The store confirms announcements by batch, so there is one at a time.
        works[key]!.isAnnouncing = true
        dequeue(works[key]!)
        let sends = send.indexes ?? Array(0..<UInt16(send.batch.count))
        append(to: &actions, works[key]!, sends: sends, release: .keep, now: now)
    }

    /// The store has recorded that pushes of these batches are about to be sent.
    mutating func announced(_ leases: [Lease], now: Moment, _ actions: inout DispatchActions) {
        for lease in leases {
            guard var send = announcing.removeValue(forKey: lease), let work = work(of: lease) else { continue }
            endAnnouncement(of: work.key)
            // The write may have been slow: sending needs enough of the lease to wait for the answer.
            if let timeouts = timeouts(of: work, now: now.monotonic) {
                send.timeouts.wait = min(send.timeouts.wait, timeouts.wait)
                actions.sends.append(send)
            } else {
                revert(send, now: now, &actions)
            }
        }
        sendNext(now: now, &actions)
    }

    private mutating func endAnnouncement(of key: UInt64) {
        works[key]!.isAnnouncing = false
        if works[key]!.readyCount > 0 { enqueue(works[key]!, isFirst: true) }
    }

    /// Reverts an announced send that was not performed, and records the reversal in the store.
    private mutating func revert(_ send: DispatchActions.Send, now: Moment, _ actions: inout DispatchActions) {
        probeReverted(send.ticket, now: now.monotonic)
        guard let work = removeAnswered(send.count, of: send.ticket) else { return }
        let attempts = AttemptTable(work.claimed)
        let retries = (send.indexes ?? Array(0..<UInt16(send.batch.count))).map {
            Retry(index: $0, code: .none, attempts: attempts[$0], due: now.wall)
        }
        append(to: &actions, work, retries: retries, release: finish(work.key), now: now)
    }

    mutating func revertAnnouncing(now: Moment, _ actions: inout DispatchActions) {
        let sends = announcing.values.sorted { $0.ticket < $1.ticket }
        announcing = [:]
        for send in sends {
            if let work = work(of: send.lease) { endAnnouncement(of: work.key) }
            revert(send, now: now, &actions)
        }
    }
}
