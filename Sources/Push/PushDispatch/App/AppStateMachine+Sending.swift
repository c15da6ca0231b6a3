import APNSWire
import PushModel
import PushStore

extension AppStateMachine {
    /// Sends ready pushes, most urgent lane first, as far as the permit, the window, the rate and the retry budget
    /// allow. If nothing may be sent soon, all unsent batches return to the store, and no attempt is counted.
    mutating func sendNext(now: Moment, _ actions: inout DispatchActions) {
        wake(now: now)
        while readyPushes + heldPushes > 0 {
            let permit = permit(now: now.monotonic)
            // Checked before the window: batches that wait for the window return to the store as well.
            if permit == .closed { return returnUnsent(now: now, &actions) }
            guard let work = first, hasWindow(for: work) else { return }
            let hasSent: Bool
            switch permit {
            case .open: hasSent = sendPart(of: work.key, probesMax: nil, now: now, &actions)
            case .probes(let count): hasSent = sendPart(of: work.key, probesMax: count, now: now, &actions)
            case .pending, .closed: hasSent = false
            }
            if !hasSent { return }
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
    /// - Parameter probesMax: the most pushes, if they are probes.
    /// - Returns: false if the batch, and so the app, has to wait.
    private mutating func sendPart(
        of key: UInt64, probesMax: Int?, now: Moment, _ actions: inout DispatchActions
    ) -> Bool {
        guard hasClient else {
            retryAll(key, code: .unknownApp, after: configuration.policy.credentialPause, now: now, &actions)
            return true
        }
        guard let timeouts = timeouts(of: works[key]!, isShort: probesMax != nil, now: now.monotonic) else {
            // The lease may end before the answer arrives, and another instance would send the pushes again.
            returnUnsent(key, now: now, &actions)
            return true
        }
        settleUnsendable(key, now: now, &actions)
        holdOverBudget(key, countMax: probesMax ?? .max, now: now, &actions)
        guard let work = works[key], work.readyCount > 0 else { return true }
        let wanted = min(work.readyCount, probesMax ?? .max)
        let count = min(wanted, announceCapacity(for: work, now: now), rateCapacity(for: wanted, now: now, &actions))
        guard count > 0 else { return false }
        send(count, of: work, timeouts: timeouts, isProbe: probesMax != nil, now: now, &actions)
        return true
    }

    /// How long the client may take for pushes of a batch; nil if the lease is too short to wait for the answer.
    ///
    /// - Parameter isShort: for probes, which decide about a breaker and so must end soon, like the trial of quarantined
    ///   pushes.
    func timeouts(of work: BatchWork, isShort: Bool, now: Duration) -> APNSSendTimeouts? {
        let left = work.leaseUntil - now - configuration.requestTimeout
        guard left > .zero else { return nil }
        guard isShort || work.claimed.isQuarantined else {
            return APNSSendTimeouts(
                wait: min(DispatchConfiguration.waitMax, left), answer: configuration.requestTimeout
            )
        }
        let timeout = min(configuration.requestTimeout, configuration.breaker.probeTimeout)
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

    /// Sends the first `count` ready pushes of a batch.
    private mutating func send(
        _ count: Int, of work: BatchWork, timeouts: APNSSendTimeouts, isProbe: Bool, now: Moment,
        _ actions: inout DispatchActions
    ) {
        let batch = work.claimed.batch
        var part: [PendingPush]?
        if work.ready == nil, count == batch.count {
            // The common case: a fresh batch, as a whole.
            setReady([], of: work.key)
        } else {
            let ready = work.readyPushes
            part = Array(ready.prefix(count))
            setReady(Array(ready.dropFirst(count)), of: work.key)
        }
        let send = DispatchActions.Send(
            ticket: newTicket(), app: app, lease: work.claimed.lease, batch: batch.notifications,
            indexes: count == batch.count ? nil : part?.map(\.index), timeouts: timeouts, isFirst: !work.isBegun
        )
        parts[send.ticket] = Part(key: work.key, unanswered: count)
        works[work.key]!.inFlight += count
        works[work.key]!.isBegun = true
        inFlight[work.lane] += count
        if work.isAtMostOnce { inFlightAtMostOnce += count }
        sent(send, retries: part?.count { $0.attempts > 0 } ?? 0, isProbe: isProbe, now: now.monotonic)
        switch batch.ambiguity {
        case .resend: actions.sends.append(send)
        case .drop: announce(send, of: work.key, now: now, &actions)
        }
    }
}
