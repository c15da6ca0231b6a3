import APNSWire
import HTTP2Session
import Logging
import NIOCore
import NIOSSL

/// The engine of an `APNSClient`: the batches in flight, the queue in front of the connections, and the timer for both.
///
/// Used on the client's event loop only.
final class APNSClientEngine {
    /// How often answers are delivered and timeouts are checked while pushes are in flight.
    private static let tickInterval = TimeAmount.milliseconds(50)
    /// A tick that is later than this shows that the process, or its machine, was stopped.
    private static let stopMin = TimeAmount.seconds(1)
    /// How long answers are read after a stop before timeouts apply again.
    private static let resumeTime = TimeAmount.seconds(1)
    /// How often idle connections are checked.
    private static let idleTickInterval = TimeAmount.seconds(2)
    /// The share of one processor above which the event loop counts as saturated.
    private static let busyShare = 0.85

    let eventLoop: any EventLoop
    let configuration: APNSClientConfiguration
    let authority: String
    let limits: APNSConnection.Limits
    private(set) var credential: APNSCredential
    private let shared: ClientShared
    private var pool: ConnectionPool!

    var queue = RequestQueue()
    private var batches: [InFlightBatch] = []
    /// Batches with all answers, not yet delivered.
    private var finished: [InFlightBatch] = []
    /// Seconds since 1970, at the last `readWallClock`.
    private var wallNow: Int64 = 0
    private var serial: UInt64 = 0
    private var counters = APNSClientSnapshot()
    /// The failure reported for pushes that time out while there is no connection.
    private var connectFailure = APNSAnswer.Failure.none
    private var connectReason = APNSReason.none
    private var reachability: Reachability
    /// The collectors of cancelled tasks, until the end of the turn of the event loop.
    private var cancelled: [ObjectIdentifier: AnswerCollector] = [:]
    /// The reason in `counters.refusalDetail`.
    private var lastRefusal = APNSReason.none
    /// When a connection was last drained because of token updates.
    private var tokenUpdatesDrainAt: NIODeadline?
    /// No push times out before. A lower bound, so that answers need not update it.
    private var nextTimeout = NIODeadline.distantFuture
    private var isClosing = false
    private var closePromises: [EventLoopPromise<Void>] = []
    private var timer: (isFast: Bool, dueAt: NIODeadline, task: Scheduled<Void>)?
    /// The end of the time after a stop in which connections have no timeouts.
    private var resumingUntil: NIODeadline?
    private var isPumpScheduled = false
    /// Whether the queue was empty at any time since the last tick.
    private var wasQueueEmpty = true
    private var cpuTime = ThreadCPUTime()

    init(eventLoop: any EventLoop, configuration: APNSClientConfiguration, tls: NIOSSLContext, shared: ClientShared) {
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.shared = shared
        reachability = Reachability(silenceMax: TimeAmount(configuration.silenceMax))
        let endpoint = configuration.endpoint
        authority = endpoint.port == 443 ? endpoint.host : "\(endpoint.host):\(endpoint.port)"
        limits = APNSConnection.Limits(
            streamsMax: configuration.streamsPerConnectionMax, pingInterval: TimeAmount(configuration.pingInterval),
            pingTimeout: TimeAmount(configuration.pingTimeout), drainTimeout: TimeAmount(configuration.drainTimeout),
            stallTimeout: TimeAmount(configuration.stallTimeout),
            idlePingInterval: TimeAmount(configuration.idlePingInterval),
            idleBeforeProbe: TimeAmount(configuration.idleBeforeProbe),
            ageMax: TimeAmount(configuration.connectionAgeMax)
        )
        credential = configuration.credential
        let dialer = Dialer(
            eventLoop: eventLoop, endpoint: endpoint, proxy: configuration.proxy, tls: tls,
            timeout: TimeAmount(configuration.connectTimeout)
        )
        pool = ConnectionPool(engine: self, dialer: dialer, connectionsMax: configuration.connectionsMax)
    }

    // MARK: Sending

    func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, waitUntil: NIODeadline,
        answerTimeout: TimeAmount, to receiver: any APNSAnswerReceiver, isAdmitted: Bool
    ) {
        serial += 1
        let inFlight = InFlightBatch(
            batch, indexes: indexes, ticket: ticket, serial: serial, queuedAt: eventLoop.now, waitUntil: waitUntil,
            answerTimeout: answerTimeout, receiver: receiver
        )
        expectTimeout(at: waitUntil)
        inFlight.slot = batches.count
        batches.append(inFlight)
        queue.append(inFlight)
        if inFlight.unanswered == 0 { finished.append(inFlight) } else { reachability.pushesWait(now: eventLoop.now) }
        if !isAdmitted {
            failQueued(of: inFlight, .overloaded)
        } else if isClosing {
            failQueued(of: inFlight, .clientClosed)
        }
        schedulePump()
    }

    /// Pumps once after all calls that are queued on the event loop already, so that many small batches share one
    /// write.
    private func schedulePump() {
        guard !isPumpScheduled else { return }
        isPumpScheduled = true
        eventLoop.assumeIsolated().execute { [self] in
            isPumpScheduled = false
            pump()
            turnEnded()
        }
    }

    private func pump() {
        pool.pump()
        if queue.isEmpty { wasQueueEmpty = true }
        if wantsConnection || wantsReconnect { pool.connectIfNeeded() }
    }

    /// Whether pushes are queued.
    var wantsConnection: Bool { !queue.isEmpty }

    /// Whether to connect although nothing is queued: only an attempt shows that an outage has ended.
    var wantsReconnect: Bool { isInOutage && !isClosing }

    /// The next push in the queue. Settles pushes that must no longer be sent.
    func nextPush(now: NIODeadline) -> (InFlightBatch, UInt16)? {
        while let (batch, index) = queue.first {
            if batch.waitUntil <= now {
                expire(now: now)
                continue
            }
            // No push is sent after its expiration. An expiration of 0 means one attempt, which APNs makes.
            let expiration = batch.batch.entries[Int(index)].expiration
            if expiration > 0, expiration <= wallNow {
                queue.removeFirst()
                settle(batch, index, .failed(.expired, .neverWritten))
                continue
            }
            return (batch, index)
        }
        return nil
    }

    func countSent() { counters.sent += 1 }

    func countReset() { counters.resets += 1 }

    func countDelayedConnect() { counters.connectsDelayed += 1 }

    /// To be called before a series of `nextPush`, to avoid a system call per push.
    func readWallClock() { wallNow = configuration.clock.now().secondsSince1970 }

    // MARK: Answers

    /// Records the answer to a push.
    func settle(
        _ batch: InFlightBatch, _ index: UInt16, _ answer: APNSAnswer, latency: UInt32 = 0,
        unknownReason: String? = nil,
        uniqueID: String? = nil
    ) {
        counters.count(answer)
        batch.answer(answer, of: index, latency: latency, unknownReason: unknownReason, uniqueID: uniqueID)
        if batch.unanswered == 0 { finished.append(batch) }
    }

    /// Queues a push again that a server did not process, or settles it with `answer` if another attempt is not
    /// possible.
    ///
    /// - Returns: how often the push has been requeued; 0 when it was settled.
    @discardableResult
    func requeue(_ batch: InFlightBatch, _ index: UInt16, _ answer: APNSAnswer) -> UInt8 {
        let isHopeless = answer.reason.isAboutCredential && answer.reason != .expiredProviderToken
        guard !isClosing, !isHopeless, !batch.isCancelled, batch.waitUntil > eventLoop.now else {
            settle(batch, index, answer)
            return 0
        }
        guard let requeues = batch.countRequeue(of: index) else {
            counters.requeueLimit += 1
            settle(batch, index, answer)
            return 0
        }
        counters.requeued += 1
        queue.requeue(RequestQueue.Requeued(batch: batch, index: index, answer: answer), isAgain: requeues > 1)
        return requeues
    }

    /// Delivers the answers of complete batches and schedules the next tick. To be called at the end of each turn of
    /// the event loop.
    func turnEnded() {
        // Counters are published before the last answers are delivered, so that receivers see them. Otherwise the tick
        // is often enough, because publishing visits each connection.
        if !finished.isEmpty || batches.isEmpty { publish() }
        if !finished.isEmpty {
            let complete = finished
            finished.removeAll(keepingCapacity: true)
            for batch in complete {
                remove(batch)
                deliver(batch)
            }
        }
        scheduleTick()
        closeIfDone()
    }

    private func deliver(_ batch: InFlightBatch) {
        guard let answers = batch.takeAnswers() else { return }
        shared.release(answers.answers.count)
        batch.receiver.receive(answers)
    }

    /// Removes a batch from the list; the last one moves to its slot.
    private func remove(_ batch: InFlightBatch) {
        let last = batches.removeLast()
        guard last !== batch else { return }
        last.slot = batch.slot
        batches[batch.slot] = last
    }

    /// A push times out at `deadline`, if nothing happens to it before.
    func expectTimeout(at deadline: NIODeadline) { nextTimeout = min(nextTimeout, deadline) }

    /// Settles every push that has waited too long, for a connection or for its answer.
    private func expire(now: NIODeadline) {
        nextTimeout = .distantFuture
        if isResuming(now: now) {
            expectTimeout(at: now + Self.resumeTime)
        } else {
            for connection in pool.all { connection.expire(now: now) }
        }
        let failure = connectFailure == .none ? APNSAnswer.Failure.deadlineExceeded : connectFailure
        let reason = connectReason
        for push in queue.removeAll(where: { $0.waitUntil <= now }) {
            let answer = push.answer ?? APNSAnswer(disposition: .neverWritten, reason: reason, failure: failure)
            settle(push.batch, push.index, answer)
        }
        expectTimeout(at: queue.firstTimeout)
    }

    /// Whether the process was stopped until a moment ago, so that answers may wait in the sockets: they count, although
    /// the timeouts of their pushes have passed.
    private func isResuming(now: NIODeadline) -> Bool {
        if let dueAt = timer?.dueAt, dueAt + Self.stopMin <= now {
            timer?.dueAt = now
            resumingUntil = now + Self.resumeTime
        }
        return resumingUntil.map { now < $0 } ?? false
    }

    /// Settles the queued pushes of `batch`, or of all batches.
    private func failQueued(of batch: InFlightBatch? = nil, _ failure: APNSAnswer.Failure) {
        failQueued(of: batch, with: .failed(failure, .neverWritten))
    }

    private func failQueued(of batch: InFlightBatch? = nil, with answer: APNSAnswer) {
        for push in queue.removeAll(where: { batch == nil || $0 === batch }) {
            settle(push.batch, push.index, push.answer ?? answer)
        }
    }

    // MARK: Cancellation

    /// Ends the wait of `collector`: settles its pushes that are not written, and lets it return. Its written pushes stay
    /// in flight without a receiver, until they are answered or time out.
    ///
    /// Once for all calls that are queued on the event loop already: it visits all batches, and tasks are often cancelled
    /// by the thousand.
    func cancel(_ collector: AnswerCollector) {
        let isFirst = cancelled.isEmpty
        cancelled[ObjectIdentifier(collector)] = collector
        guard isFirst else { return }
        eventLoop.assumeIsolated().execute { [self] in endCancelled() }
    }

    private func endCancelled() {
        let collectors = cancelled
        cancelled = [:]
        let ended = batches.filter { collectors[ObjectIdentifier($0.receiver)] != nil }
        for batch in ended { batch.isCancelled = true }
        for push in queue.removeAll(where: \.isCancelled) {
            // What servers returned to the queue, they did not process.
            let isRefused = push.answer.map { $0.disposition != .neverWritten } ?? false
            settle(push.batch, push.index, .failed(.cancelled, isRefused ? .refused : .neverWritten))
        }
        for connection in pool.all { connection.cancelUnsent() }
        for batch in ended where batch.unanswered > 0 { deliver(batch) }
        turnEnded()
        for collector in collectors.values { collector.endWait() }
    }

    // MARK: Connection events

    func connectionReady(_ connection: APNSConnection) {
        configuration.logger.debug(
            "connected to APNs", metadata: ["apns.streams": .stringConvertible(connection.streamsMax)])
        connectFailure = .none
        connectReason = .none
        counters.connects += 1
        emit(.connected, of: connection.id)
        pool.connectionReady(connection)
    }

    /// A connection has answered its first push.
    func connectionProven() { pool.connectionProven() }

    func connectionUseful() { pool.connectionUseful() }

    /// A connection takes no new streams.
    func connectionDraining(_ connection: APNSConnection, _ reason: APNSDrainReason) {
        configuration.logger.debug("APNs connection draining", metadata: ["apns.drain_reason": "\(reason)"])
        counters.drained += 1
        emit(.draining(reason), of: connection.id)
        pool.connectionDraining(connection, reason)
        schedulePump()
    }

    func connectionClosed(_ connection: APNSConnection, _ failure: APNSAnswer.Failure) {
        emit(.closed(failure), of: connection.id)
        var cause = APNSConnectionFailure(failure)
        if let known = connection.lossCause, known.failure == failure { cause = known }
        let wasUsed = pool.connectionClosed(connection, cause)
        // A connection that answered nothing for a while is draining before its silence is proven.
        if wasUsed || cause.cause.isSilence {
            configuration.logger.debug(
                "APNs connection lost",
                metadata: [
                    "apns.failure": "\(failure)", "apns.cause": "\(cause.cause.rawValue)",
                    "apns.detail": "\(cause.detail)",
                ]
            )
            connectFailure = failure
            counters.lastFailure = failure
            connectionLost(connection, cause)
        }
        schedulePump()
    }

    private func connectionLost(_ connection: APNSConnection, _ failure: APNSConnectionFailure) {
        // The client's own decisions, and refusals of the credential, which `refusalDetail` names, are no outage.
        if failure.failure == .clientClosed || failure.failure == .credential { return }
        if connectReason != .none, failure.failure == .goAway || failure.cause == .tlsRefused { return }
        // Routers forget connections that are idle for long: their end says nothing.
        let wasSilent = !connection.isProbing && failure.cause.isSilence
        let others = pool.ready
        // After silence, another connection is only known to work if it has proved so since. SETTINGS are no proof.
        let hasOther =
            connection.unacknowledgedPingAt.map { since in others.contains { $0.wasAlive(since: since) } }
            ?? !others.isEmpty
        reachability.lost(
            failure, showsOutage: !connection.connectStep.isReady || wasSilent, hasOther: hasOther,
            now: eventLoop.now, wall: configuration.clock.now())
        if isInOutage { for other in others { other.verify() } }
    }

    /// Records that pushes wait, and whether that has become an outage.
    private func updateReachability(now: NIODeadline) {
        if batches.contains(where: { $0.unanswered > 0 }) { reachability.pushesWait(now: now) }
        let hasBegun = reachability.advance(
            now: now, wall: configuration.clock.now(),
            ignoresPings: pool.all.contains { $0.unacknowledgedPingAt.map { $0 + .seconds(1) <= now } ?? false })
        // Their answers show whether the outage goes on when no push waits any more.
        if hasBegun { for connection in pool.ready { connection.verify() } }
    }

    /// Settles the pushes that have waited for a connection, in an outage, for longer than the caller tolerates.
    private func returnQueuedInOutage(now: NIODeadline) {
        guard let tolerance = configuration.outageTolerance.map(TimeAmount.init), isInOutage, pool.ready.isEmpty else {
            return
        }
        let failure = connectFailure == .none ? APNSAnswer.Failure.connectTimeout : connectFailure
        let answer = APNSAnswer(disposition: .neverWritten, reason: connectReason, failure: failure)
        for push in queue.removeAll(where: { $0.queuedAt + tolerance <= now }) {
            settle(push.batch, push.index, push.answer ?? answer)
        }
    }

    /// Whether no connection is known to work.
    var isInOutage: Bool { reachability.outage != nil }

    func pingAcknowledged() {
        reachability.pingAcknowledged(hasPushes: batches.contains { $0.unanswered > 0 }, now: eventLoop.now)
    }

    /// APNs answered a push, and not with a server error.
    func answeredByAPNs() { reachability.answered() }

    func answeredWithError(status: UInt16, reason: APNSReason) {
        reachability.answeredWithError(status: status, reason: reason)
    }

    func answeredByOther(_ failure: APNSConnectionFailure) {
        reachability.answeredByOther(failure, wall: configuration.clock.now())
    }

    func goAwayReceived(_ reason: APNSReason, _ goAway: HTTP2GoAway, by connection: APNSConnection) {
        configuration.logger.debug(
            "APNs ends a connection",
            metadata: ["apns.code": .stringConvertible(goAway.code), "apns.reason": "\(reason)"]
        )
        counters.goAways += 1
        emit(.goAway(code: goAway.code.rawValue, reason: reason, lastStream: goAway.lastStream), of: connection.id)
        guard reason.isAboutCredential else { return reachability.noteTrouble(APNSConnectionFailure(.goAway)) }
        rejected(reason, by: connection)
        credentialRefused(reason, .goAway)
    }

    /// The server has refused the client's certificate in the TLS handshake.
    func certificateRefused() {
        guard case .certificate = credential else { return }
        counters.credentialReason = .badCertificate
        credentialRefused(.badCertificate, .tls)
    }

    /// APNs ended a connection because of the credential. Waiting for the next one helps no push when that happens again.
    private func credentialRefused(_ reason: APNSReason, _ failure: APNSAnswer.Failure) {
        connectReason = reason
        reachability.credentialRefused()
        noteRefusal(reason)
        guard pool.credentialRefused() else { return }
        failQueued(with: APNSAnswer(disposition: .neverWritten, reason: reason, failure: failure))
    }

    func emit(_ kind: APNSConnectionEvent.Kind, of connection: UInt64) {
        configuration.onEvent?(APNSConnectionEvent(connection: connection, kind: kind))
    }

    // MARK: Credential

    /// Uses another credential from now on. Pushes in flight are answered on their connections; all others wait for a
    /// new connection.
    func replace(_ credential: APNSCredential, tls: NIOSSLContext) {
        self.credential = credential
        counters.credentialReason = .none
        counters.refusalDetail = ""
        connectReason = .none
        tokenUpdatesDrainAt = nil
        pool.replaceCredential(tls: tls)
        schedulePump()
    }

    /// Handles an answer other than 200.
    ///
    /// - Returns: whether another connection will accept the push.
    @discardableResult
    func rejected(_ reason: APNSReason, by connection: APNSConnection) -> Bool {
        if reason.isAboutCredential || reason.isAboutTopic || reason == .tooManyProviderTokenUpdates {
            noteRefusal(reason)
        }
        switch reason {
        case .expiredProviderToken:
            counters.credentialReason = reason
            // After an expired token, APNs accepts no other token on the same connection (Pushy).
            guard let source = credential.tokenSource, let token = connection.token,
                (try? source.renew(insteadOf: token)) == true
            else { return false }
            connection.drain(.expiredToken)
            return true
        case .tooManyProviderTokenUpdates, .unrelatedKeyIdInToken:
            if reason == .tooManyProviderTokenUpdates {
                credential.tokenSource?.freeze()
            } else {
                counters.credentialReason = reason
            }
            let interval = TimeAmount(ProviderTokenSource.forcedRenewalInterval)
            if let tokenUpdatesDrainAt, tokenUpdatesDrainAt + interval > eventLoop.now { return false }
            tokenUpdatesDrainAt = eventLoop.now
            connection.drain(.tokenUpdates)
            return false
        case .shutdown, .idleTimeout:
            connection.drain(.shutdown)
            return true
        case let reason where reason.isAboutCredential:
            counters.credentialReason = reason
            return false
        default: return false
        }
    }

    private func noteRefusal(_ reason: APNSReason) {
        guard reason != lastRefusal || counters.refusalDetail.isEmpty else { return }
        lastRefusal = reason
        counters.refusalDetail = credential.refusalDetail(reason, endpoint: authority)
    }

    /// No provider token can be signed, so no queued push can be sent.
    func credentialFailed() {
        reachability.credentialRefused()
        failQueued(.credential)
    }

    // MARK: Timer

    /// Schedules the next tick: soon while answers are due, later while connections are idle, and not at all without a
    /// connection.
    func scheduleTick() {
        let isFast = !batches.isEmpty || pool.all.contains(where: \.needsTick)
        guard isFast || pool.hasConnections, timer == nil || isFast && timer?.isFast == false else { return }
        timer?.task.cancel()
        let interval = isFast ? Self.tickInterval : Self.idleTickInterval
        let task = eventLoop.assumeIsolated().scheduleTask(in: interval) { [self] in tick() }
        timer = (isFast, eventLoop.now + interval, task)
    }

    private func tick() {
        let now = eventLoop.now
        let isResuming = isResuming(now: now)
        timer = nil
        if nextTimeout <= now { expire(now: now) }
        returnQueuedInOutage(now: now)
        var used = 0.0
        for connection in pool.ready { used += connection.measureUtilization() }
        if !isResuming { for connection in pool.all { connection.tick(now: now) } }
        updateReachability(now: now)
        updatePool(now: now, used: used)
        pool.connectIfNeeded()
        publish()
        for batch in batches where batch.unanswered > 0 { deliver(batch) }
        turnEnded()
    }

    private func updatePool(now: NIODeadline, used: Double) {
        pool.update(
            PoolPolicy.Load(
                now: now, ready: pool.ready.count, isSaturated: !wasQueueEmpty && !queue.isEmpty,
                answered: counters.answered, answerTime: pool.ready.compactMap(\.answerTime).max() ?? .nanoseconds(0),
                isLoopBusy: cpuTime.measureShare(now: now) > Self.busyShare, used: used
            )
        )
        wasQueueEmpty = queue.isEmpty
    }

    private func publish() {
        counters.state = isClosing ? .closed : pool.state
        counters.connections = pool.ready.count
        counters.streamsOpen = pool.streamsOpen
        counters.streamsMax = pool.streamsMax
        counters.waiting = queue.count
        counters.failures = reachability.failures
        counters.outage = reachability.outage
        shared.publish(counters)
    }

    func connectionSnapshots() -> [APNSConnectionSnapshot] { pool.all.map { $0.snapshot() } }

    // MARK: Closing

    /// Takes no new pushes, waits up to `grace` for the answers to its pushes, settles the rest and closes.
    func close(grace: TimeAmount, promise: EventLoopPromise<Void>?) {
        if let promise { closePromises.append(promise) }
        isClosing = true
        eventLoop.assumeIsolated().scheduleTask(in: grace) { [self] in
            failQueued(.clientClosed)
            for connection in pool.all { connection.close(.clientClosed) }
            turnEnded()
        }
        schedulePump()
    }

    /// Takes no new pushes and settles the queued ones.
    func stopSending() {
        isClosing = true
        failQueued(.clientClosed)
        schedulePump()
    }

    private func closeIfDone() {
        guard isClosing, batches.isEmpty else { return }
        for connection in pool.all { connection.close(.clientClosed) }
        publish()
        shared.markClosed()
        for promise in closePromises { promise.succeed() }
        closePromises.removeAll()
    }
}
