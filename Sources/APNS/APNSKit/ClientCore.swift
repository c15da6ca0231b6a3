import APNSWire
import HTTP2Session
import Logging
import NIOCore
import NIOSSL

/// The heart of an `APNSClient`: open batches, the queue in front of the connections, and the clock that watches both.
///
/// Used on the client's event loop only.
final class ClientCore {
    /// Answers are handed on at least this often, and deadlines are looked at.
    private static let tickInterval = TimeAmount.milliseconds(50)

    let eventLoop: any EventLoop
    let configuration: APNSClientConfiguration
    let authority: String
    let limits: APNSConnection.Limits
    private let shared: ClientShared
    private var slot: ConnectionSlot!

    var waiting = WaitingPushes()
    private var batches: [OpenBatch] = []
    /// Batches whose last answer is in, not yet handed on.
    private var finished: [OpenBatch] = []
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
    private var isTicking = false
    private var isPumpScheduled = false

    init(eventLoop: any EventLoop, configuration: APNSClientConfiguration, tls: NIOSSLContext, shared: ClientShared) {
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.shared = shared
        let endpoint = configuration.endpoint
        authority = endpoint.port == 443 ? endpoint.host : "\(endpoint.host):\(endpoint.port)"
        limits = APNSConnection.Limits(
            streamsMax: configuration.streamsPerConnectionMax, pingInterval: TimeAmount(configuration.pingInterval),
            pingTimeout: TimeAmount(configuration.pingTimeout), drainTimeout: TimeAmount(configuration.drainTimeout)
        )
        slot = ConnectionSlot(core: self, tls: tls)
    }

    // MARK: Pushes in

    func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, deadline: NIODeadline,
        to receiver: any APNSAnswerReceiver, isAdmitted: Bool
    ) {
        serial += 1
        let open = OpenBatch(
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
        if let connection = slot.ready { connection.pump() }
        if wantsConnection { slot.connectIfNeeded() }
    }

    /// Whether pushes wait for a connection.
    var wantsConnection: Bool { !waiting.isEmpty }

    /// The waiting push whose turn it is; those that must not be sent any more are settled on the way.
    func nextPush(now: NIODeadline) -> (OpenBatch, UInt16)? {
        while let (batch, index) = waiting.first {
            if batch.deadline <= now {
                expire(now: now)
                continue
            }
            // Nothing is sent after its expiration; 0 means "now or never" and is left to APNs.
            let expiration = batch.batch.entries[Int(index)].expiration
            if expiration > 0, expiration <= wallNow {
                waiting.removeFirst()
                settle(batch, index, .failed(.deadlineExceeded, .neverWritten))
                continue
            }
            return (batch, index)
        }
        return nil
    }

    func countSent() { counters.sent += 1 }

    /// To be called before a series of `nextPush`: a system call for each push would be too many.
    func readWallClock() { wallNow = configuration.clock.now() }

    // MARK: Answers out

    /// A push has come to its end.
    func settle(
        _ batch: OpenBatch, _ index: UInt16, _ answer: APNSAnswer, latency: UInt32 = 0, unknownReason: String? = nil
    ) {
        counters.count(answer)
        batch.answer(answer, of: index, latency: latency, unknownReason: unknownReason)
        if batch.unanswered == 0 { finished.append(batch) }
    }

    /// A push came back unprocessed: it is sent again, unless that happened too often or makes no sense.
    func move(_ batch: OpenBatch, _ index: UInt16, _ answer: APNSAnswer) {
        let isHopeless = answer.reason.isAboutCredential && answer.reason != .expiredProviderToken
        guard !isClosing, !isHopeless, batch.deadline > eventLoop.now, batch.countMove(of: index) else {
            return settle(batch, index, answer)
        }
        counters.moved += 1
        waiting.putBack(WaitingPushes.Moved(batch: batch, index: index, answer: answer))
    }

    /// Hands on the answers of batches that are complete and keeps watch over the others. Called at the end of each turn.
    func turnEnded() {
        // First, so that who has the last answer in hand finds it counted.
        publish()
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

    private func handOn(_ batch: OpenBatch) {
        guard let answers = batch.takeAnswers() else { return }
        shared.release(answers.answers.count)
        batch.receiver.receive(answers)
    }

    /// Forgets a batch; the last one takes its place.
    private func remove(_ batch: OpenBatch) {
        let last = batches.removeLast()
        guard last !== batch else { return }
        last.place = batch.place
        batches[batch.place] = last
    }

    /// Gives up every push whose deadline has passed.
    private func expire(now: NIODeadline) {
        for connection in slot.connections { connection.expire(now: now) }
        let failure = connectFailure == .none ? APNSAnswer.Failure.deadlineExceeded : connectFailure
        let reason = connectReason
        for push in waiting.removeAll(where: { $0.deadline <= now }) {
            let answer = push.answer ?? APNSAnswer(outcome: .neverWritten, reason: reason, failure: failure)
            settle(push.batch, push.index, answer)
        }
    }

    /// Gives up what waits of `batch`, or of all batches.
    private func refuseWaiting(of batch: OpenBatch? = nil, _ failure: APNSAnswer.Failure) {
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
        slot.becameReady(connection)
    }

    /// The slot's connection takes no new streams.
    func connectionRetired(_ connection: APNSConnection) {
        slot.retired(connection)
        schedulePump()
    }

    func connectionClosed(_ connection: APNSConnection, _ failure: APNSAnswer.Failure) {
        slot.ended(connection, failure)
        schedulePump()
    }

    /// The slot has no connection any more, or could not make one.
    func connectionLost(_ failure: APNSAnswer.Failure) {
        configuration.logger.debug("APNs connection lost", metadata: ["apns.failure": "\(failure)"])
        connectFailure = failure
        counters.lastFailure = failure
        schedulePump()
    }

    func goAwayReceived(_ reason: APNSReason, _ code: HTTP2ErrorCode, by connection: APNSConnection) {
        configuration.logger.debug(
            "APNs ends a connection", metadata: ["apns.code": "\(code)", "apns.reason": "\(reason)"]
        )
        counters.goAways += 1
        guard reason.isAboutCredential else { return }
        connectReason = reason
        refused(reason, by: connection)
    }

    /// An answer other than 200.
    func refused(_ reason: APNSReason, by connection: APNSConnection) {
        switch reason {
        case .expiredProviderToken:
            counters.credentialReason = reason
            // Once APNs has seen an expired token the connection stays unusable (Pushy): new token, new connection.
            guard let source = configuration.tokenSource, let token = connection.token,
                (try? source.renew(insteadOf: token)) == true
            else { return }
            connection.retire()
        case .tooManyProviderTokenUpdates:
            configuration.tokenSource?.freeze()
            let interval = TimeAmount.seconds(ProviderTokenSource.forcedRenewalInterval)
            if let recycledAt, recycledAt + interval > eventLoop.now { return }
            recycledAt = eventLoop.now
            connection.retire()
        case let reason where reason.isAboutCredential:
            counters.credentialReason = reason
        default: break
        }
    }

    /// No token can be made: nothing of what waits can be sent.
    func credentialFailed() { refuseWaiting(.credential) }

    // MARK: Time

    /// Makes sure that the clock runs while there is something to watch.
    func needsTick() {
        guard !isTicking, !batches.isEmpty || slot.connections.contains(where: \.needsTick) else { return }
        isTicking = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.tickInterval) { [self] in tick() }
    }

    private func tick() {
        isTicking = false
        let now = eventLoop.now
        if batches.contains(where: { $0.deadline <= now }) { expire(now: now) }
        for connection in slot.connections { connection.tick(now: now) }
        if wantsConnection { slot.connectIfNeeded() }
        publish()
        for batch in batches where batch.unanswered > 0 { handOn(batch) }
        turnEnded()
    }

    private func publish() {
        counters.state = isClosing ? .closed : slot.label
        counters.streamsOpen = slot.streamsOpen
        counters.streamsMax = slot.ready?.streamsMax ?? 0
        counters.waiting = waiting.count
        shared.publish(counters)
    }

    // MARK: Closing

    /// Takes no new pushes, waits up to `grace` for those it has, reports the rest and closes.
    func close(grace: TimeAmount, promise: EventLoopPromise<Void>?) {
        if let promise { closed.append(promise) }
        guard !isClosing else { return finishClosing() }
        isClosing = true
        eventLoop.assumeIsolated().scheduleTask(in: grace) { [self] in
            refuseWaiting(.clientClosed)
            for connection in slot.connections { connection.finish(.clientClosed) }
            turnEnded()
        }
        schedulePump()
    }

    private func finishClosing() {
        guard isClosing, batches.isEmpty else { return }
        for connection in slot.connections { connection.finish(.clientClosed) }
        publish()
        shared.markClosed()
        for promise in closed { promise.succeed() }
        closed.removeAll()
    }
}
