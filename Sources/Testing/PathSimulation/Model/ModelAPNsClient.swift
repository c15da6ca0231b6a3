import APNSWire
import PushModel
import PushStore

/// A model of the APNs client of one app in one gateway, with the rules of APNSKit.
///
/// Unprocessed pushes (above GOAWAY's last stream ID, refused, never written) are requeued up to five times and then
/// reported as unprocessed. Pushes that were written and not answered are ambiguous and reported immediately.
final class ModelAPNsClient {
    static let requeuesMax = 5

    unowned let gateway: ModelGateway
    private var simulation: Simulation { gateway.simulation }
    private let app: AppID
    private var waiting: [ModelLink.Flight] = []
    private var link: ModelLink?
    /// Connections that open no new streams and wait for answers.
    private var draining: [ModelLink] = []
    private var failedConnects = 0
    private var isConnectScheduled = false
    private var isClosed = false
    private var collected: [UInt64: APNSAnswers] = [:]

    init(gateway: ModelGateway, app: AppID) {
        self.gateway = gateway
        self.app = app
    }

    var hasOpenStreams: Bool { link?.open.isEmpty == false || draining.contains { !$0.open.isEmpty } }

    // MARK: Sending

    func send(_ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, lease: Lease, timeouts: APNSSendTimeouts)
    {
        guard let truth = simulation.checker.batchesByID[lease.batch] else { preconditionFailure("unknown batch") }
        simulation.trace(.sent, gateway.number, truth.number, indexes?.count ?? batch.count)
        // The client uses the monotonic clock of its gateway.
        let wait = gateway.virtualTicks(timeouts.wait.ticks)
        let answerTimeout = gateway.virtualTicks(timeouts.answer.ticks)
        for index in indexes ?? (0..<UInt16(batch.count)).map({ $0 }) {
            waiting.append(
                ModelLink.Flight(
                    truth: truth, index: index, lease: lease, ticket: ticket, waitUntil: simulation.now + wait,
                    answerTimeout: answerTimeout
                )
            )
        }
        gateway.deliver(after: wait) { [self] in expireFlights() }
        // In a separate event, like a task on the client's event loop.
        gateway.after(0) { [self] in pump() }
    }

    private func pump() {
        defer { reportAnswers() }
        guard !isClosed else { return failWaiting() }
        guard let link else { return connectSoon() }
        guard link.state == .ready else { return }
        var written: [ModelLink.Stream] = []
        var taken = 0
        let wall = gateway.expirationClock
        while taken < waiting.count, link.open.count < link.streamsMax {
            let flight = waiting[taken]
            taken += 1
            guard simulation.now < flight.waitUntil else {
                report(flight, flight.lastAnswer ?? .failed(.deadlineExceeded, .neverWritten))
                continue
            }
            let expiration = flight.truth.batch.notifications.entries[flight.push].expiration
            if expiration > 0, expiration <= wall.seconds {
                report(flight, .failed(.deadlineExceeded, .neverWritten))
                continue
            }
            simulation.checker.wrote(
                flight.truth, flight.push, epoch: flight.lease.epoch, by: gateway.processLife, wall: gateway.wall,
                isLeaseHeld: simulation.store.holds(flight.lease)
            )
            written.append(link.openStream(flight, now: simulation.now))
        }
        waiting.removeFirst(taken)
        guard !written.isEmpty else { return }
        simulation.trace(.written, gateway.number, written[0].flight.truth.number, written.count)
        for timeout in Set(written.map(\.answerUntil)).sorted() {
            gateway.deliver(after: timeout - simulation.now) { [self] in expireFlights() }
        }
        simulation.apns.receive(written, on: link)
    }

    // MARK: Connections

    private func connectSoon() {
        guard !waiting.isEmpty, !isConnectScheduled else { return }
        isConnectScheduled = true
        let backoff =
            failedConnects == 0 ? 0 : min(failedConnects, 5) * simulation.random.within(50...800) * .millisecond
        gateway.after(backoff + 3 * simulation.plan.apnsDelay) { [self] in
            isConnectScheduled = false
            guard !isClosed, link == nil else { return }
            if simulation.isActive(.apnsDown) {
                failedConnects += 1
                connectSoon()
                return
            }
            failedConnects = 0
            link = ModelLink(client: self, streamsMax: simulation.apns.sampleStreamsMax())
            link?.state = .ready
            simulation.trace(.connected, gateway.number)
            pump()
        }
    }

    /// Stops new streams on the connection.
    private func drain(_ link: ModelLink) {
        guard link.state == .ready else { return }
        link.state = .draining
        if self.link === link { self.link = nil }
        draining.append(link)
        removeDrained()
        gateway.after(0) { [self] in pump() }
    }

    private func removeDrained() { draining.removeAll { $0.open.isEmpty } }

    // MARK: Events of the connection

    /// How a stream ended.
    enum StreamResult {
        case answered(APNSAnswer)
        /// RST_STREAM with REFUSED_STREAM.
        case refused
        /// RST_STREAM with another code.
        case reset
    }

    func received(_ results: [(stream: Int, result: StreamResult)], on link: ModelLink) {
        guard link.state != .closed else { return }
        for (stream, result) in results {
            guard let flight = link.close(stream) else { continue }
            switch result {
            case .answered(let answer): answered(flight, answer, on: link)
            case .refused: requeue(flight, refusal(.streamRefused))
            case .reset:
                simulation.checker.unanswered(flight.truth, flight.push)
                report(flight, .failed(.streamReset, .ambiguous))
            }
        }
        removeDrained()
        pump()
    }

    private func answered(_ flight: ModelLink.Flight, _ answer: APNSAnswer, on link: ModelLink) {
        var answer = answer
        if simulation.bug == .refusalBlamesPush, answer.reason == .invalidProviderToken {
            answer = APNSAnswer(disposition: .answered, status: 400, reason: .badTopic)
        }
        if case .refused = VerdictTable.meaning(of: answer) {
            // An attempt that failed because of the credential does not count.
        } else {
            flight.truth.pushes[flight.push].countable += 1
        }
        if answer.reason == .expiredProviderToken {
            // Requeued with a new token on a new connection; reported only if that fails as well.
            drain(link)
            requeue(flight, answer)
            return
        }
        if answer.retryAfterSeconds > 0 {
            let wait = Int(answer.retryAfterSeconds) * Ticks.second
            flight.truth.pushes[flight.push].notBeforeByAPNs = simulation.now + wait - wait / 20
        }
        if simulation.bug == .retryAfterIgnored { answer.retryAfterSeconds = 0 }
        report(flight, answer)
    }

    private func refusal(_ failure: APNSAnswer.Failure) -> APNSAnswer {
        .failed(failure, simulation.bug == .unprocessedCounted ? .ambiguous : .refused)
    }

    func goAway(last: Int, on link: ModelLink) {
        guard link.state != .closed else { return }
        simulation.trace(.goAway, gateway.number, min(last, 99_999), link.open.count)
        link.goAwayLast = last
        drain(link)
        let lastProcessed = simulation.bug == .resendBelowGoAway ? 0 : last
        let refused = link.open.filter { $0.id > lastProcessed }
        link.open.removeAll { $0.id > lastProcessed }
        for stream in refused { requeue(stream.flight, refusal(.goAway)) }
        removeDrained()
        pump()
    }

    func lost(_ link: ModelLink) {
        guard link.state != .closed else { return }
        simulation.trace(.connectionLost, gateway.number, link.open.count)
        link.state = .closed
        if self.link === link { self.link = nil }
        let open = link.open
        link.open = []
        for stream in open {
            if let last = link.goAwayLast, stream.id > last {
                requeue(stream.flight, refusal(.goAway))
            } else {
                simulation.checker.unanswered(stream.flight.truth, stream.flight.push)
                report(stream.flight, .failed(.connectionClosed, .ambiguous))
            }
        }
        removeDrained()
        pump()
    }

    // MARK: Results

    private func requeue(_ flight: ModelLink.Flight, _ answer: APNSAnswer) {
        guard !isClosed, flight.requeues < Self.requeuesMax, simulation.now < flight.waitUntil,
            answer.disposition != .ambiguous
        else {
            return report(flight, answer)
        }
        var flight = flight
        flight.requeues += 1
        flight.lastAnswer = answer
        waiting.insert(flight, at: 0)
    }

    private func expireFlights() {
        for link in draining + (link.map { [$0] } ?? []) {
            let expired = link.open.filter { $0.answerUntil <= simulation.now }
            guard !expired.isEmpty else { continue }
            link.open.removeAll { $0.answerUntil <= simulation.now }
            for stream in expired {
                simulation.checker.unanswered(stream.flight.truth, stream.flight.push)
                report(stream.flight, .failed(.deadlineExceeded, .ambiguous))
            }
            // A connection that leaves pushes unanswered is replaced.
            drain(link)
        }
        let expired = waiting.filter { $0.waitUntil <= simulation.now }
        // So is a connection that opens no streams.
        if let link, !expired.isEmpty, link.open.isEmpty { drain(link) }
        waiting.removeAll { $0.waitUntil <= simulation.now }
        for flight in expired {
            let failure: APNSAnswer.Failure = failedConnects > 0 ? .connectTimeout : .deadlineExceeded
            report(flight, flight.lastAnswer ?? .failed(failure, .neverWritten))
        }
        removeDrained()
        reportAnswers()
    }

    private func failWaiting() {
        let flights = waiting
        waiting = []
        for flight in flights { report(flight, flight.lastAnswer ?? .failed(.clientClosed, .neverWritten)) }
    }

    /// Reports all unfinished pushes, at the end of a drain.
    func close() {
        isClosed = true
        for link in draining + (link.map { [$0] } ?? []) { lost(link) }
        failWaiting()
        reportAnswers()
    }

    /// The process has crashed: later events of its connections are ignored, because the next process issues new
    /// tickets.
    func abandon() {
        isClosed = true
        for link in draining + (link.map { [$0] } ?? []) {
            link.state = .closed
            link.open = []
        }
        link = nil
        draining = []
    }

    private func report(_ flight: ModelLink.Flight, _ answer: APNSAnswer) {
        collected[flight.ticket, default: APNSAnswers(ticket: flight.ticket)].append(
            answer, of: flight.index, latency: 0)
    }

    /// Reports the collected answers, batch by batch.
    private func reportAnswers() {
        guard !collected.isEmpty else { return }
        let groups = collected.values.sorted { $0.ticket < $1.ticket }
        collected = [:]
        for answers in groups { gateway.received(answers, of: app) }
    }
}
