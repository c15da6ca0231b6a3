import APNSWire
import PushModel
import PushStore

extension AppStateMachine {
    /// Sends ready pushes, most urgent lane first, as far as the permit, the window, the rate and the retry budget
    /// allow. If nothing may be sent soon, all unsent batches return to the store, and no attempt is counted.
    ///
    /// - Parameter isTick: whether it is the turn of the app in `DispatchStateMachine.tick`.
    mutating func sendNext(isTick: Bool = false, now: Moment, _ actions: inout DispatchActions) {
        wake(now: now)
        // A slow ramp is shared by age: only a tick knows which app has the oldest push.
        if !isTick, isRampSlow(now: now.monotonic) { return }
        while readyPushes + heldPushes > 0 {
            let permit = permit()
            // Checked before the window: batches that wait for the window return to the store as well.
            if permit == .closed { return returnUnsent(now: now, &actions) }
            if permit == .probes { return sendProbe(now: now, &actions) }
            guard let work = first, hasWindow(for: work),
                sendPart(of: work.key, isRamping: permit == .ramp, now: now, &actions)
            else { return }
        }
    }

    /// Whether the window has capacity for the ready pushes of a batch. A batch that is larger than its lane's share of
    /// the window may be sent when no push of its lane or a less urgent one is in flight.
    private func hasWindow(for work: BatchWork) -> Bool {
        let limits = configuration.limits
        let capacity = limits.windowShares.capacity(for: work.lane, used: inFlight, limit: limits.windowPerApp)
        return capacity >= work.readyCount || inFlight.count(atMostAsUrgentAs: work.lane) == 0
    }

    /// Sends as many ready pushes of a batch as may be sent now; the others stay ready or are held.
    ///
    /// - Parameter isRamping: whether a ramp limits the sends.
    /// - Returns: false if the batch, and so the app, has to wait.
    private mutating func sendPart(
        of key: UInt64, isRamping: Bool, now: Moment, _ actions: inout DispatchActions
    ) -> Bool {
        guard hasClient else {
            retryAll(key, code: .unknownApp, after: Self.unknownAppPause, now: now, &actions)
            return true
        }
        guard let timeouts = timeouts(of: works[key]!, now: now.monotonic) else {
            // The lease may end before the answer arrives, and another instance would send the pushes again.
            returnUnsent(key, now: now, &actions)
            return true
        }
        settleUnsendable(key, now: now, &actions)
        holdOverBudget(key, now: now, &actions)
        guard let work = works[key], work.readyCount > 0 else { return true }
        let wanted = work.readyCount
        var count = min(wanted, announceCapacity(for: work, now: now), rateCapacity(for: wanted, now: now, &actions))
        if isRamping, count > 0 { count = acquireRamp(count, now: now.monotonic) }
        guard count > 0 else { return false }
        guard count < work.claimed.batch.count || work.ready != nil else {
            // The common case: a fresh batch, as a whole.
            let send = send(nil, rest: [], of: work, timeouts: timeouts, now: now, &actions)
            sent(send, retries: 0, now: now.monotonic)
            return true
        }
        let ready = work.readyPushes
        let pushes = Array(ready.prefix(count))
        let send = send(
            pushes, rest: Array(ready.dropFirst(count)), of: work, timeouts: timeouts, now: now, &actions)
        sent(send, retries: pushes.count { $0.isResend }, now: now.monotonic)
        return true
    }

    /// How long pushes of an app without a client wait.
    private static let unknownAppPause: Duration = .seconds(30)

    /// Sends one ready push as a probe, if one is due. Probes wait neither for the window nor for the retry budget: both may
    /// be used up by the outage.
    private mutating func sendProbe(now: Moment, _ actions: inout DispatchActions) {
        while let candidate = probeCandidate(now: now.monotonic) {
            let key = candidate.key
            guard let timeouts = timeouts(of: works[key]!, now: now.monotonic) else {
                returnUnsent(key, now: now, &actions)
                continue
            }
            settleUnsendable(key, now: now, &actions)
            guard let work = works[key] else { continue }
            let ready = work.readyPushes
            let rest = ready.filter { $0.index != candidate.push.index }
            guard rest.count < ready.count else { continue }
            guard announceCapacity(for: work, now: now) > 0, rateCapacity(for: 1, now: now, &actions) > 0 else {
                return
            }
            let send = send([candidate.push], rest: rest, of: work, timeouts: timeouts, now: now, &actions)
            rate?.sent(1)
            if candidate.push.isResend {
                budget.sentProbe(now: now.monotonic)
            } else {
                budget.sentFirst(1, now: now.monotonic)
            }
            stallDetector.sent(1, now: now.monotonic)
            probed(send.ticket, token: candidate.token, now: now.monotonic, &actions)
            return
        }
    }

    /// How long the client may take for pushes of a batch; nil if the lease is too short to wait for the answer.
    func timeouts(of work: BatchWork, now: Duration) -> APNSSendTimeouts? {
        let left = work.leaseUntil - now - configuration.requestTimeout
        guard left > .zero else { return nil }
        guard work.claimed.isQuarantined else {
            return APNSSendTimeouts(
                wait: min(DispatchConfiguration.waitMax, left), answer: configuration.requestTimeout
            )
        }
        // The trial of quarantined pushes must end soon: there is one at a time.
        let timeout = min(configuration.requestTimeout, Quarantine.answerTimeout)
        return APNSSendTimeouts(wait: min(timeout, left), answer: timeout)
    }

    /// The number of pushes of a batch that may be announced now. A crash loses announced pushes that were not sent, so
    /// few may be in flight until a recent answer shows that APNs responds. Other batches have no such limit.
    private func announceCapacity(for work: BatchWork, now: Moment) -> Int {
        guard work.isAtMostOnce else { return .max }
        let isHealthy = lastFinalAnswerAt.map { now.monotonic - $0 < Self.healthEvidenceLifetime } ?? false
        let limits = configuration.limits
        return max(0, (isHealthy ? limits.windowAtMostOnce : limits.windowAtMostOnceUnproven) - inFlightAtMostOnce)
    }

    /// How long an answer counts as evidence that APNs responds.
    private static let healthEvidenceLifetime: Duration = .seconds(2)

    /// Sends ready pushes of a batch; nil: the whole batch.
    ///
    /// - Parameter rest: the other ready pushes.
    private mutating func send(
        _ pushes: [PendingPush]?, rest: [PendingPush], of work: BatchWork, timeouts: APNSSendTimeouts, now: Moment,
        _ actions: inout DispatchActions
    ) -> DispatchActions.Send {
        let batch = work.claimed.batch
        setReady(rest, of: work.key)
        let count = pushes?.count ?? batch.count
        let send = DispatchActions.Send(
            ticket: newTicket(), app: app, lease: work.claimed.lease, batch: batch.notifications,
            indexes: count == batch.count ? nil : pushes?.map(\.index), timeouts: timeouts, isFirst: !work.isBegun
        )
        parts[send.ticket] = Part(key: work.key, unanswered: count)
        works[work.key]!.inFlight += count
        works[work.key]!.isBegun = true
        inFlight[work.lane] += count
        if work.isAtMostOnce { inFlightAtMostOnce += count }
        switch batch.ambiguity {
        case .resend: actions.sends.append(send)
        case .drop: announce(send, of: work.key, now: now, &actions)
        }
        return send
    }
}
