import APNSWire
import PushModel
import PushQueue

extension DispatchCore {
    /// The batch that answers are for; nil when they are late.
    package func work(_ ticket: UInt64) -> DispatchStateMachine.Work? { machine.work(ticket) }

    /// A piece of answers has come.
    package mutating func answered(_ answers: APNSAnswers, now: Moment, _ effects: inout DispatchEffects) {
        guard let work = work(answers.ticket) else {
            effects.events.append(.late(pushes: answers.answers.count))
            return
        }
        let judgement = Judgement(
            answers, for: work, policy: configuration.policy, slowAfter: configuration.breaker.slowAfter, now: now.wall
        )
        judged(judgement, now: now, &effects)
    }

    /// The same, when what the answers mean was found out before.
    package mutating func judged(_ judgement: Judgement, now: Moment, _ effects: inout DispatchEffects) {
        guard judgement.count > 0 else { return }
        guard let (work, isDone) = machine.decided(judgement.count, of: judgement.ticket) else {
            effects.events.append(.late(pushes: judgement.count))
            return
        }
        tell(
            work, outcomes: judgement.outcomes, retries: judgement.retries, isDone: isDone, now: now, &effects
        )
        if judgement.ambiguous > 0 { effects.events.append(.ambiguous(pushes: judgement.ambiguous)) }
        let index = work.appIndex
        gates[index].answered += judgement.count
        if judgement.delivered > 0 { gates[index].watch.delivered() }
        gates[index].budget.succeeded(judgement.recovered, now: now.monotonic)
        if judgement.judged > 0 {
            gates[index].suspectsWaitUntil = nil
            gates[index].judgedAt = now.monotonic
        } else if work.claimed.isSuspect, judgement.ambiguous == judgement.count {
            gates[index].suspectsWaitUntil = now.monotonic + AppGate.suspectsPause
        }
        judgeCredential(judgement, of: index, now: now, &effects)
        judgeCalls(judgement, of: index, now: now, &effects)
        sendNext(of: index, now: now, &effects)
    }

    private mutating func judgeCredential(
        _ judgement: Judgement, of index: Int, now: Moment, _ effects: inout DispatchEffects
    ) {
        let app = machine.app(at: index)
        if judgement.credentialRefused > 0 {
            let isNews = gates[index].credential.refused(
                judgement.ticket, now: now.monotonic, draw: generator.draw()
            )
            guard isNews else { return }
            effects.events.append(.credentialRefused(app))
            giveBackWaiting(of: index, now: now, &effects)
        } else if gates[index].credential.isRefused {
            let isGood = gates[index].credential.answered(
                judgement.ticket, isJudged: judgement.judged > 0, now: now.monotonic, draw: generator.draw()
            )
            guard isGood else { return }
            effects.events.append(.credentialAccepted(app))
            effects.wantsClaim = true
        }
    }

    private mutating func judgeCalls(
        _ judgement: Judgement, of index: Int, now: Moment, _ effects: inout DispatchEffects
    ) {
        let place = gates[index].environment
        let time = now.monotonic
        let tally = judgement.tally
        gates[index].breaker.record(tally, now: time)
        environments[place].breaker.record(tally, now: time)
        let void = judgement.count - tally.calls
        if environments[place].breaker.state == .halfOpen {
            let change = environments[place].breaker.answered(
                judgement.ticket, good: tally.good, bad: tally.calls - tally.good, void: void,
                isShared: environments[place].isShared, now: time, draw: generator.draw()
            )
            environmentChanged(place, change, now: now, &effects)
        }
        if gates[index].breaker.state == .halfOpen {
            let change = gates[index].breaker.answered(
                judgement.ticket, good: tally.good, bad: tally.calls - tally.good, void: void, now: time,
                draw: generator.draw()
            )
            appChanged(index, change, now: now, &effects)
        }
        if tally.calls > tally.good { openIfFailing(index, now: now, &effects) }
    }
}
