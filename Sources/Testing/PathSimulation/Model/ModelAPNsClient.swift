import APNSWire
import PushModel
import PushStore

/// What dispatch sees of the APNs client of one app in one gateway, by the rules of APNSKit.
///
/// Unprocessed pushes (above GOAWAY's last id, refused, never written) move to another connection up to five times and are
/// then reported as free; what was written and ended without an answer is ambiguous and reported at once.
final class ModelAPNsClient {
    static let movesMax = 5

    unowned let gateway: ModelGateway
    private var world: World { gateway.world }
    private let app: AppID
    private var waiting: [ModelLink.Flight] = []
    private var link: ModelLink?
    /// Connections that take no new streams and still owe answers.
    private var draining: [ModelLink] = []
    private var failedConnects = 0
    private var isConnectScheduled = false
    private var isClosed = false
    private var collected: [UInt64: APNSAnswers] = [:]

    init(gateway: ModelGateway, app: AppID) {
        self.gateway = gateway
        self.app = app
    }

    var isAtWork: Bool { link?.open.isEmpty == false || draining.contains { !$0.open.isEmpty } }

    // MARK: In

    func send(_ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, lease: Lease, timeout: Ticks) {
        guard let truth = world.checker.truths[lease.batch] else { preconditionFailure("a batch of nobody") }
        world.trace(.sent, gateway.number, truth.number, indexes?.count ?? batch.count)
        // The client keeps time by its machine's monotonic clock.
        let deadline = world.now + gateway.inWorld(timeout)
        for index in indexes ?? (0..<UInt16(batch.count)).map({ $0 }) {
            waiting.append(
                ModelLink.Flight(truth: truth, index: index, lease: lease, ticket: ticket, deadline: deadline)
            )
        }
        gateway.deliver(after: gateway.inWorld(timeout)) { [self] in expire() }
        // In a turn of its own, as the client's event loop has it.
        gateway.after(0) { [self] in pump() }
    }

    private func pump() {
        defer { handOn() }
        guard !isClosed else { return refuseWaiting() }
        guard let link else { return connectSoon() }
        guard link.state == .ready else { return }
        var written: [ModelLink.Stream] = []
        var passed = 0
        let wall = gateway.judgedWall
        while passed < waiting.count, link.open.count < link.streamsMax {
            let flight = waiting[passed]
            passed += 1
            guard world.now < flight.deadline else {
                settle(flight, flight.lastAnswer ?? .failed(.deadlineExceeded, .neverWritten))
                continue
            }
            let expiration = flight.truth.batch.notifications.entries[flight.push].expiration
            if expiration > 0, expiration <= wall.seconds {
                settle(flight, .failed(.deadlineExceeded, .neverWritten))
                continue
            }
            world.checker.wrote(
                flight.truth, flight.push, epoch: flight.lease.epoch, by: gateway.processLife, wall: gateway.wall,
                isLeaseHeld: world.store.holds(flight.lease)
            )
            written.append(link.openStream(flight))
        }
        waiting.removeFirst(passed)
        guard !written.isEmpty else { return }
        world.trace(.written, gateway.number, written[0].flight.truth.number, written.count)
        world.apns.receive(written, on: link)
    }

    // MARK: Connections

    private func connectSoon() {
        guard !waiting.isEmpty, !isConnectScheduled else { return }
        isConnectScheduled = true
        let pause = failedConnects == 0 ? 0 : min(failedConnects, 5) * world.random.within(50...800) * .millisecond
        gateway.after(pause + 3 * world.plan.apnsDelay) { [self] in
            isConnectScheduled = false
            guard !isClosed, link == nil else { return }
            if world.isActive(.apnsDown) {
                failedConnects += 1
                connectSoon()
                return
            }
            failedConnects = 0
            link = ModelLink(client: self, streamsMax: world.apns.streamsMax)
            link?.state = .ready
            world.trace(.connected, gateway.number)
            pump()
        }
    }

    /// The connection takes no new pushes from now on.
    private func retire(_ link: ModelLink) {
        guard link.state == .ready else { return }
        link.state = .draining
        if self.link === link { self.link = nil }
        draining.append(link)
        forgetEmpty()
        gateway.after(0) { [self] in pump() }
    }

    private func forgetEmpty() { draining.removeAll { $0.open.isEmpty } }

    // MARK: What the server says

    enum Answer {
        case answered(APNSAnswer)
        /// RST_STREAM with REFUSED_STREAM.
        case refused
        /// RST_STREAM with another code.
        case reset
    }

    func received(_ answers: [(stream: Int, answer: Answer)], on link: ModelLink) {
        guard link.state != .closed else { return }
        for (stream, answer) in answers {
            guard let flight = link.close(stream) else { continue }
            switch answer {
            case .answered(let answer): answered(flight, answer, on: link)
            case .refused: move(flight, refusal(.streamRefused))
            case .reset:
                world.checker.unanswered(flight.truth, flight.push)
                settle(flight, .failed(.streamReset, .ambiguous))
            }
        }
        forgetEmpty()
        pump()
    }

    private func answered(_ flight: ModelLink.Flight, _ answer: APNSAnswer, on link: ModelLink) {
        var answer = answer
        if case .retry(_, .credential) = VerdictTable.meaning(of: answer) {
            // Not the push's own fault.
        } else {
            flight.truth.pushes[flight.push].countable += 1
        }
        if answer.reason == .expiredProviderToken {
            // A new token on a new connection; the caller hears of it only if that does not help.
            retire(link)
            move(flight, answer)
            return
        }
        if answer.retryAfter > 0 {
            let wait = Int(answer.retryAfter) * Ticks.second
            flight.truth.pushes[flight.push].notBeforeByAPNs = world.now + wait - wait / 20
        }
        if world.bug == .retryAfterIgnored { answer.retryAfter = 0 }
        settle(flight, answer)
    }

    private func refusal(_ failure: APNSAnswer.Failure) -> APNSAnswer {
        .failed(failure, world.bug == .freeRetriesCounted ? .ambiguous : .refused)
    }

    func goAway(last: Int, on link: ModelLink) {
        guard link.state != .closed else { return }
        world.trace(.goAway, gateway.number, min(last, 99_999), link.open.count)
        link.goAwayLast = last
        retire(link)
        let known = world.bug == .resendBelowGoAway ? 0 : last
        let refused = link.open.filter { $0.id > known }
        link.open.removeAll { $0.id > known }
        for stream in refused { move(stream.flight, refusal(.goAway)) }
        forgetEmpty()
        pump()
    }

    func lost(_ link: ModelLink) {
        guard link.state != .closed else { return }
        world.trace(.connectionLost, gateway.number, link.open.count)
        link.state = .closed
        if self.link === link { self.link = nil }
        let open = link.open
        link.open = []
        for stream in open {
            if let last = link.goAwayLast, stream.id > last {
                move(stream.flight, refusal(.goAway))
            } else {
                world.checker.unanswered(stream.flight.truth, stream.flight.push)
                settle(stream.flight, .failed(.connectionClosed, .ambiguous))
            }
        }
        forgetEmpty()
        pump()
    }

    // MARK: Out

    private func move(_ flight: ModelLink.Flight, _ answer: APNSAnswer) {
        guard !isClosed, flight.moves < Self.movesMax, world.now < flight.deadline, answer.outcome != .ambiguous else {
            return settle(flight, answer)
        }
        var flight = flight
        flight.moves += 1
        flight.lastAnswer = answer
        waiting.insert(flight, at: 0)
    }

    private func expire() {
        for link in draining + (link.map { [$0] } ?? []) {
            let late = link.open.filter { $0.flight.deadline <= world.now }
            guard !late.isEmpty else { continue }
            link.open.removeAll { $0.flight.deadline <= world.now }
            for stream in late {
                world.checker.unanswered(stream.flight.truth, stream.flight.push)
                settle(stream.flight, .failed(.deadlineExceeded, .ambiguous))
            }
            // A connection that leaves pushes unanswered is replaced.
            retire(link)
        }
        let late = waiting.filter { $0.deadline <= world.now }
        // So is one that takes none.
        if let link, !late.isEmpty, link.open.isEmpty { retire(link) }
        waiting.removeAll { $0.deadline <= world.now }
        for flight in late {
            let failure: APNSAnswer.Failure = failedConnects > 0 ? .connectTimeout : .deadlineExceeded
            settle(flight, flight.lastAnswer ?? .failed(failure, .neverWritten))
        }
        forgetEmpty()
        handOn()
    }

    private func refuseWaiting() {
        let flights = waiting
        waiting = []
        for flight in flights { settle(flight, flight.lastAnswer ?? .failed(.clientClosed, .neverWritten)) }
    }

    /// Reports everything that is still open: the end of a drain.
    func close() {
        isClosed = true
        for link in draining + (link.map { [$0] } ?? []) { lost(link) }
        refuseWaiting()
        handOn()
    }

    /// The process has died. What still happens on its connections concerns nobody: the tickets of the next one are its own.
    func abandon() {
        isClosed = true
        for link in draining + (link.map { [$0] } ?? []) {
            link.state = .closed
            link.open = []
        }
        link = nil
        draining = []
    }

    private func settle(_ flight: ModelLink.Flight, _ answer: APNSAnswer) {
        collected[flight.ticket, default: APNSAnswers(ticket: flight.ticket)].append(
            answer, of: flight.index, latency: 0)
    }

    /// The answers of this turn, batch by batch.
    private func handOn() {
        guard !collected.isEmpty else { return }
        let pieces = collected.values.sorted { $0.ticket < $1.ticket }
        collected = [:]
        for piece in pieces { gateway.received(piece) }
    }
}
