import APNSWire
import HTTP2Session
import Logging
import NIOCore
import NIOSSL

/// The heart of an `APNSClient`: open batches, the queue in front of the connections, and the clock that watches both.
///
/// Used on the client's event loop only.
final class APNSClientEngine {
    /// Answers are handed on at least this often, and deadlines are looked at.
    private static let tickInterval = TimeAmount.milliseconds(50)
    private static let idleTickInterval = TimeAmount.seconds(2)
    /// Of a processor: above this the event loop is taken to be at its limit.
    private static let busyShare = 0.85

    let eventLoop: any EventLoop
    let configuration: APNSClientConfiguration
    let authority: String
    let limits: APNSConnection.Limits
    private(set) var credential: APNSCredential
    private let shared: ClientShared
    private var pool: ConnectionPool!

    var waiting = RequestQueue()
    private var batches: [InFlightBatch] = []
    /// Batches whose last answer is in, not yet handed on.
    private var finished: [InFlightBatch] = []
    /// UNIX seconds, as of the last `readWallClock`.
    private var wallNow: Int64 = 0
    private var serial: UInt64 = 0
    private var counters = APNSClientSnapshot()
    /// What pushes that wait in vain are told: why there is no connection.
    private var connectFailure = APNSAnswer.Failure.none
    private var connectReason = APNSReason.none
    private var recycledAt: NIODeadline?
    private var isClosing = false
    private var closed: [EventLoopPromise<Void>] = []
    private var clock: (isFast: Bool, task: Scheduled<Void>)?
    private var isPumpScheduled = false
    /// Since the last tick, there was a moment in which nothing waited.
    private var hasBeenIdle = true
    private var processor = ThreadCPUTime()

    init(eventLoop: any EventLoop, configuration: APNSClientConfiguration, tls: NIOSSLContext, shared: ClientShared) {
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.shared = shared
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
        pool = ConnectionPool(core: self, dialer: dialer, connectionsMax: configuration.connectionsMax)
    }

    // MARK: Pushes in

    func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, deadline: NIODeadline,
        to receiver: any APNSAnswerReceiver, isAdmitted: Bool
    ) {
        serial += 1
        let open = InFlightBatch(
            batch, indexes: indexes, ticket: ticket, serial: serial, deadline: deadline, receiver: receiver
        )
        open.place = batches.count
        batches.append(open)
        waiting.append(open)
        if open.unanswered == 0 { finished.append(open) }
        if !isAdmitted {
            refuseWaiting(of: open, .overloaded)
        } else if isClosing {
            refuseWaiting(of: open, .clientClosed)
        }
        schedulePump()
    }

    /// Pumps once after all the calls that are queued on the loop already, so that many small batches share a write.
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
        if waiting.isEmpty { hasBeenIdle = true } else { pool.connectIfNeeded() }
    }

    /// Whether pushes wait for a connection.
    var wantsConnection: Bool { !waiting.isEmpty }

    /// The waiting push whose turn it is; those that must not be sent any more are settled on the way.
    func nextPush(now: NIODeadline) -> (InFlightBatch, UInt16)? {
        while let (batch, index) = waiting.first {
            if batch.deadline <= now {
                expire(now: now)
                continue
            }
            // Nothing is sent after its expiration; 0 means "now or never" and is left to APNs.
            let expiration = batch.batch.entries[Int(index)].expiration
            if expiration > 0, expiration <= wallNow {
                waiting.removeFirst()
                settle(batch, index, .failed(.expired, .neverWritten))
                continue
            }
            return (batch, index)
        }
        return nil
    }

    func countSent() { counters.sent += 1 }

    func countReset() { counters.resets += 1 }

    /// To be called before a series of `nextPush`: a system call for each push would be too many.
    func readWallClock() { wallNow = configuration.clock.now() }

    // MARK: Answers out

    /// A push has come to its end.
    func settle(
        _ batch: InFlightBatch, _ index: UInt16, _ answer: APNSAnswer, latency: UInt32 = 0, unknownReason: String? = nil
    ) {
        counters.count(answer)
        batch.answer(answer, of: index, latency: latency, unknownReason: unknownReason)
        if batch.unanswered == 0 { finished.append(batch) }
    }

    /// A push came back unprocessed: it is sent again, unless that happened too often or makes no sense.
    ///
    /// - Returns: how often it has been sent again; 0 when it was not.
    @discardableResult
    func move(_ batch: InFlightBatch, _ index: UInt16, _ answer: APNSAnswer) -> UInt8 {
        let isHopeless = answer.reason.isAboutCredential && answer.reason != .expiredProviderToken
        guard !isClosing, !isHopeless, batch.deadline > eventLoop.now, let moves = batch.countRequeue(of: index) else {
            settle(batch, index, answer)
            return 0
        }
        counters.requeued += 1
        waiting.putBack(RequestQueue.Moved(batch: batch, index: index, answer: answer))
        return moves
    }

    /// Hands on the answers of batches that are complete and keeps watch over the others. Called at the end of each turn.
    func turnEnded() {
        // First, so that who has the last answer in hand finds it counted. In between, the tick is often enough: what is
        // published costs a look at each connection.
        if !finished.isEmpty || batches.isEmpty { publish() }
        if !finished.isEmpty {
            let complete = finished
            finished.removeAll(keepingCapacity: true)
            for batch in complete {
                remove(batch)
                handOn(batch)
            }
        }
        needsTick()
        finishClosing()
    }

    private func handOn(_ batch: InFlightBatch) {
        guard let answers = batch.takeAnswers() else { return }
        shared.release(answers.answers.count)
        batch.receiver.receive(answers)
    }

    /// Forgets a batch; the last one takes its place.
    private func remove(_ batch: InFlightBatch) {
        let last = batches.removeLast()
        guard last !== batch else { return }
        last.place = batch.place
        batches[batch.place] = last
    }

    /// Gives up every push whose deadline has passed.
    private func expire(now: NIODeadline) {
        for connection in pool.all { connection.expire(now: now) }
        let failure = connectFailure == .none ? APNSAnswer.Failure.deadlineExceeded : connectFailure
        let reason = connectReason
        for push in waiting.removeAll(where: { $0.deadline <= now }) {
            let answer = push.answer ?? APNSAnswer(outcome: .neverWritten, reason: reason, failure: failure)
            settle(push.batch, push.index, answer)
        }
    }

    /// Gives up what waits of `batch`, or of all batches.
    private func refuseWaiting(of batch: InFlightBatch? = nil, _ failure: APNSAnswer.Failure) {
        for push in waiting.removeAll(where: { batch == nil || $0 === batch }) {
            settle(push.batch, push.index, push.answer ?? .failed(failure, .neverWritten))
        }
    }

    // MARK: What connections tell

    func connectionReady(_ connection: APNSConnection) {
        configuration.logger.debug("connected to APNs", metadata: ["apns.streams": "\(connection.streamsMax)"])
        connectFailure = .none
        connectReason = .none
        counters.connects += 1
        tell(.connected, of: connection.id)
        pool.becameReady(connection)
    }

    func connectionProvedUseful() { pool.provedUseful() }

    /// A connection takes no new streams.
    func connectionDraining(_ connection: APNSConnection, _ why: APNSDrainReason) {
        configuration.logger.debug("APNs connection retired", metadata: ["apns.why": "\(why)"])
        counters.retired += 1
        tell(.retired(why), of: connection.id)
        pool.retired(connection)
        schedulePump()
    }

    func connectionClosed(_ connection: APNSConnection, _ failure: APNSAnswer.Failure) {
        tell(.closed(failure), of: connection.id)
        if pool.ended(connection, failure) {
            configuration.logger.debug("APNs connection lost", metadata: ["apns.failure": "\(failure)"])
            connectFailure = failure
            counters.lastFailure = failure
        }
        schedulePump()
    }

    func goAwayReceived(_ reason: APNSReason, _ goAway: HTTP2GoAway, by connection: APNSConnection) {
        configuration.logger.debug(
            "APNs ends a connection", metadata: ["apns.code": "\(goAway.code)", "apns.reason": "\(reason)"]
        )
        counters.goAways += 1
        tell(.goAway(code: goAway.code.rawValue, reason: reason, lastStream: goAway.lastStream), of: connection.id)
        guard reason.isAboutCredential else { return }
        connectReason = reason
        pool.credentialRefused()
        refused(reason, by: connection)
    }

    func tell(_ kind: APNSConnectionEvent.Kind, of connection: UInt64) {
        configuration.onEvent?(APNSConnectionEvent(connection: connection, kind: kind))
    }

    // MARK: Credential

    /// Uses another credential from now on. What is in flight is answered where it is, everything else waits for a new
    /// connection.
    func replace(_ credential: APNSCredential, tls: NIOSSLContext) {
        self.credential = credential
        counters.credentialReason = .none
        connectReason = .none
        recycledAt = nil
        pool.replaceCredential(tls: tls)
        schedulePump()
    }

    /// An answer other than 200.
    ///
    /// - Returns: whether the push was not processed, and another connection will do better.
    @discardableResult
    func refused(_ reason: APNSReason, by connection: APNSConnection) -> Bool {
        switch reason {
        case .expiredProviderToken:
            counters.credentialReason = reason
            // Once APNs has seen an expired token the connection stays unusable (Pushy): new token, new connection.
            guard let source = credential.tokenSource, let token = connection.token,
                (try? source.renew(insteadOf: token)) == true
            else { return false }
            connection.retire(.expiredToken)
            return true
        case .tooManyProviderTokenUpdates, .unrelatedKeyIdInToken:
            if reason == .tooManyProviderTokenUpdates {
                credential.tokenSource?.freeze()
            } else {
                counters.credentialReason = reason
            }
            let interval = TimeAmount.seconds(ProviderTokenSource.forcedRenewalInterval)
            if let recycledAt, recycledAt + interval > eventLoop.now { return false }
            recycledAt = eventLoop.now
            connection.retire(.tokenUpdates)
            return false
        case .shutdown, .idleTimeout:
            connection.retire(.shutdown)
            return true
        case let reason where reason.isAboutCredential:
            counters.credentialReason = reason
            return false
        default: return false
        }
    }

    /// No token can be made: nothing of what waits can be sent.
    func credentialFailed() { refuseWaiting(.credential) }

    // MARK: Time

    /// Makes sure that the clock runs while there is something to watch: fast while answers are due, slowly while
    /// connections stand by.
    func needsTick() {
        let isFast = !batches.isEmpty || pool.all.contains(where: \.needsTick)
        guard isFast || pool.needsIdlePolicy, clock == nil || isFast && clock?.isFast == false else { return }
        clock?.task.cancel()
        let interval = isFast ? Self.tickInterval : Self.idleTickInterval
        clock = (isFast, eventLoop.assumeIsolated().scheduleTask(in: interval) { [self] in tick() })
    }

    private func tick() {
        clock = nil
        let now = eventLoop.now
        if batches.contains(where: { $0.deadline <= now }) { expire(now: now) }
        var used = 0.0
        for connection in pool.ready { used += connection.use() }
        for connection in pool.all { connection.tick(now: now) }
        lookAtPool(now: now, used: used)
        pool.connectIfNeeded()
        publish()
        for batch in batches where batch.unanswered > 0 { handOn(batch) }
        turnEnded()
    }

    private func lookAtPool(now: NIODeadline, used: Double) {
        pool.look(
            PoolPolicy.Load(
                now: now, ready: pool.ready.count, isSaturated: !hasBeenIdle && !waiting.isEmpty,
                answered: counters.answered, answerTime: pool.ready.compactMap(\.answerTime).max() ?? .nanoseconds(0),
                isLoopBusy: processor.share(now: now) > Self.busyShare, used: used
            )
        )
        hasBeenIdle = waiting.isEmpty
    }

    private func publish() {
        counters.state = isClosing ? .closed : pool.label
        counters.connections = pool.ready.count
        counters.streamsOpen = pool.streamsOpen
        counters.streamsMax = pool.streamsMax
        counters.waiting = waiting.count
        shared.publish(counters)
    }

    /// How each connection is doing.
    func connectionSnapshots() -> [APNSConnectionSnapshot] { pool.all.map { $0.snapshot() } }

    // MARK: Closing

    /// Takes no new pushes, waits up to `grace` for those it has, reports the rest and closes.
    func close(grace: TimeAmount, promise: EventLoopPromise<Void>?) {
        if let promise { closed.append(promise) }
        isClosing = true
        eventLoop.assumeIsolated().scheduleTask(in: grace) { [self] in
            refuseWaiting(.clientClosed)
            for connection in pool.all { connection.finish(.clientClosed) }
            turnEnded()
        }
        schedulePump()
    }

    func stopSending() {
        isClosing = true
        refuseWaiting(.clientClosed)
        schedulePump()
    }

    private func finishClosing() {
        guard isClosing, batches.isEmpty else { return }
        for connection in pool.all { connection.finish(.clientClosed) }
        publish()
        shared.markClosed()
        for promise in closed { promise.succeed() }
        closed.removeAll()
    }
}
