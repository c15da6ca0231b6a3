package import APNSWire
package import PushModel
import PushStore

extension DispatchStateMachine {
    /// The batch of a ticket; nil if it has left memory, so that answers for it are late.
    package func work(_ ticket: UInt64) -> DispatchBuffer.Work? { buffer.work(ticket) }

    /// The APNs client has reported answers for some pushes of a batch.
    package mutating func answered(_ answers: APNSAnswers, now: Moment, _ actions: inout DispatchActions) {
        guard let work = work(answers.ticket) else {
            actions.events.append(.lateAnswers(pushes: answers.answers.count))
            return
        }
        let classification = AnswerClassification(
            answers, for: work, policy: configuration.policy, slowAfter: configuration.breaker.slowAfter, now: now.wall
        )
        classified(classification, now: now, &actions)
    }

    /// The same, with the answers classified by the caller.
    package mutating func classified(
        _ classification: AnswerClassification, now: Moment, _ actions: inout DispatchActions
    ) {
        guard classification.count > 0 else { return }
        guard let (work, isDone) = buffer.removeAnswered(classification.count, of: classification.ticket) else {
            actions.events.append(.lateAnswers(pushes: classification.count))
            return
        }
        appendSettlement(
            of: work, outcomes: classification.outcomes, retries: classification.retries, isDone: isDone, now: now,
            &actions
        )
        if classification.ambiguous > 0 { actions.events.append(.ambiguous(pushes: classification.ambiguous)) }
        let index = work.appIndex
        upstreams[index].answered += classification.count
        if classification.delivered > 0 { upstreams[index].stallDetector.delivered() }
        upstreams[index].budget.succeeded(classification.recovered, now: now.monotonic)
        if classification.finalAnswers > 0 {
            upstreams[index].quarantineDeferredUntil = nil
            upstreams[index].lastFinalAnswerAt = now.monotonic
        } else if work.claimed.isQuarantined, classification.ambiguous == classification.count {
            upstreams[index].quarantineDeferredUntil = now.monotonic + AppUpstream.quarantinePause
        }
        updateCredential(with: classification, of: index, now: now, &actions)
        updateBreakers(with: classification, of: index, now: now, &actions)
        sendNext(of: index, now: now, &actions)
    }

    private mutating func updateCredential(
        with classification: AnswerClassification, of index: Int, now: Moment, _ actions: inout DispatchActions
    ) {
        let app = buffer.app(at: index)
        if classification.credentialRefused > 0 {
            let isStateChange = upstreams[index].credential.refused(
                classification.ticket, now: now.monotonic, jitter: generator.nextUnit()
            )
            guard isStateChange else { return }
            actions.events.append(.credentialRefused(app))
            returnWaiting(of: index, now: now, &actions)
        } else if upstreams[index].credential.isRefused {
            let isAccepted = upstreams[index].credential.answered(
                classification.ticket, isClassified: classification.finalAnswers > 0, now: now.monotonic,
                jitter: generator.nextUnit()
            )
            guard isAccepted else { return }
            actions.events.append(.credentialAccepted(app))
            actions.wantsClaim = true
        }
    }

    private mutating func updateBreakers(
        with classification: AnswerClassification, of index: Int, now: Moment, _ actions: inout DispatchActions
    ) {
        let endpointIndex = upstreams[index].endpointIndex
        let time = now.monotonic
        let tally = classification.tally
        upstreams[index].breaker.record(tally, now: time)
        endpoints[endpointIndex].breaker.record(tally, now: time)
        let void = classification.count - tally.calls
        if endpoints[endpointIndex].breaker.state == .halfOpen {
            let change = endpoints[endpointIndex].breaker.answered(
                classification.ticket, good: tally.good, bad: tally.calls - tally.good, void: void,
                isShared: endpoints[endpointIndex].isShared, now: time, jitter: generator.nextUnit()
            )
            endpointBreakerChanged(endpointIndex, change, now: now, &actions)
        }
        if upstreams[index].breaker.state == .halfOpen {
            let change = upstreams[index].breaker.answered(
                classification.ticket, good: tally.good, bad: tally.calls - tally.good, void: void, now: time,
                jitter: generator.nextUnit()
            )
            appBreakerChanged(index, change, now: now, &actions)
        }
        if tally.calls > tally.good { openIfFailing(index, now: now, &actions) }
    }
}
