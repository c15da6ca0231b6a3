package import APNSWire
package import PushModel
import PushStore

extension DispatchStateMachine {
    /// The batch that answers are for; nil when they are late.
    package func work(_ ticket: UInt64) -> DispatchBuffer.Work? { machine.work(ticket) }

    /// A piece of answers has come.
    package mutating func answered(_ answers: APNSAnswers, now: Moment, _ effects: inout DispatchActions) {
        guard let work = work(answers.ticket) else {
            effects.events.append(.late(pushes: answers.answers.count))
            return
        }
        let classification = AnswerClassification(
            answers, for: work, policy: configuration.policy, slowAfter: configuration.breaker.slowAfter, now: now.wall
        )
        classified(classification, now: now, &effects)
    }

    /// The same, when what the answers mean was found out before.
    package mutating func classified(
        _ classification: AnswerClassification, now: Moment, _ effects: inout DispatchActions
    ) {
        guard classification.count > 0 else { return }
        guard let (work, isDone) = machine.decided(classification.count, of: classification.ticket) else {
            effects.events.append(.late(pushes: classification.count))
            return
        }
        tell(
            work, outcomes: classification.outcomes, retries: classification.retries, isDone: isDone, now: now, &effects
        )
        if classification.ambiguous > 0 { effects.events.append(.ambiguous(pushes: classification.ambiguous)) }
        let index = work.appIndex
        gates[index].answered += classification.count
        if classification.delivered > 0 { gates[index].watch.delivered() }
        gates[index].budget.succeeded(classification.recovered, now: now.monotonic)
        if classification.classified > 0 {
            gates[index].quarantinedWaitUntil = nil
            gates[index].judgedAt = now.monotonic
        } else if work.claimed.isQuarantined, classification.ambiguous == classification.count {
            gates[index].quarantinedWaitUntil = now.monotonic + AppUpstream.quarantinePause
        }
        judgeCredential(classification, of: index, now: now, &effects)
        judgeCalls(classification, of: index, now: now, &effects)
        sendNext(of: index, now: now, &effects)
    }

    private mutating func judgeCredential(
        _ classification: AnswerClassification, of index: Int, now: Moment, _ effects: inout DispatchActions
    ) {
        let app = machine.app(at: index)
        if classification.credentialRefused > 0 {
            let isStateChange = gates[index].credential.refused(
                classification.ticket, now: now.monotonic, draw: generator.draw()
            )
            guard isStateChange else { return }
            effects.events.append(.credentialRefused(app))
            giveBackWaiting(of: index, now: now, &effects)
        } else if gates[index].credential.isRefused {
            let isGood = gates[index].credential.answered(
                classification.ticket, isClassified: classification.classified > 0, now: now.monotonic,
                draw: generator.draw()
            )
            guard isGood else { return }
            effects.events.append(.credentialAccepted(app))
            effects.wantsClaim = true
        }
    }

    private mutating func judgeCalls(
        _ classification: AnswerClassification, of index: Int, now: Moment, _ effects: inout DispatchActions
    ) {
        let place = gates[index].environment
        let time = now.monotonic
        let tally = classification.tally
        gates[index].breaker.record(tally, now: time)
        environments[place].breaker.record(tally, now: time)
        let void = classification.count - tally.calls
        if environments[place].breaker.state == .halfOpen {
            let change = environments[place].breaker.answered(
                classification.ticket, good: tally.good, bad: tally.calls - tally.good, void: void,
                isShared: environments[place].isShared, now: time, draw: generator.draw()
            )
            environmentChanged(place, change, now: now, &effects)
        }
        if gates[index].breaker.state == .halfOpen {
            let change = gates[index].breaker.answered(
                classification.ticket, good: tally.good, bad: tally.calls - tally.good, void: void, now: time,
                draw: generator.draw()
            )
            appChanged(index, change, now: now, &effects)
        }
        if tally.calls > tally.good { openIfFailing(index, now: now, &effects) }
    }
}
