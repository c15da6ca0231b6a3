import APNSWire
import PushModel

/// APNs as the gateways meet it: it takes requests, judges them after a while, and may do anything that a server and a
/// network may do. It alone knows which pushes it has delivered.
final class ModelAPNs {
    unowned let world: World
    /// Connections that are not known to be gone, for the faults to choose from.
    private var links: [ModelLink] = []

    init(world: World) {
        self.world = world
    }

    /// What a new connection may have open at once.
    var streamsMax: Int {
        guard world.isActive(.streamLimit) else { return world.plan.streamsMax }
        return world.random.pick([0, 1, 1, 1000])
    }

    private func oneWay() -> Ticks {
        world.random.around(world.isActive(.apnsSlow) ? world.plan.apnsDelay + 2 * .second : world.plan.apnsDelay)
    }

    func receive(_ streams: [ModelLink.Stream], on link: ModelLink) {
        if !links.contains(where: { $0 === link }) { links.append(link) }
        world.after(oneWay()) { [self] in judge(streams, on: link) }
    }

    private func judge(_ streams: [ModelLink.Stream], on link: ModelLink) {
        guard !link.isServerGone else { return }
        var answers: [(stream: Int, answer: ModelAPNsClient.Answer)] = []
        for stream in streams where stream.id <= link.serverLast {
            link.lastJudged = max(link.lastJudged, stream.id)
            guard let answer = judge(stream.flight) else { continue }
            answers.append((stream.id, answer))
        }
        guard !answers.isEmpty, !link.isMute else { return }
        link.client.gateway.deliver(after: oneWay()) { link.client.received(answers, on: link) }
    }

    /// - Returns: nil when APNs stays silent.
    private func judge(_ flight: ModelLink.Flight) -> ModelAPNsClient.Answer? {
        if world.isActive(.tokenExpiry) { return .answered(answer(403, .expiredProviderToken)) }
        if world.draws(.streamRefused, 0.1) { return .refused }
        if world.draws(.streamReset, 0.05) {
            if world.random.chance(0.5) { deliver(flight) }
            return .reset
        }
        if world.isActive(.apnsRetryAfter), world.random.chance(0.5) {
            return .answered(answer(429, .tooManyRequests, retryAfter: UInt32(world.random.within(1...8))))
        }
        if world.isActive(.apnsErrors), world.random.chance(0.6) {
            return .answered(
                world.random.pick([
                    answer(500, .internalServerError), answer(503, .serviceUnavailable), answer(429, .tooManyRequests),
                    answer(503, .shutdown),
                ])
            )
        }
        if world.plan.badDevices > 0, isBad(flight) {
            flight.truth.pushes[flight.push].isRejectedByAPNs = true
            return .answered(flight.index.isMultiple(of: 2) ? answer(410, .unregistered) : answer(400, .badDeviceToken))
        }
        let isSilent = world.draws(.apnsStall, 0.1)
        if !isSilent || world.random.chance(0.5) { deliver(flight) }
        return isSilent ? nil : .answered(.accepted)
    }

    private func answer(_ status: UInt16, _ reason: APNSReason, retryAfter: UInt32 = 0) -> APNSAnswer {
        APNSAnswer(outcome: .answered, status: status, reason: reason, retryAfter: retryAfter)
    }

    /// By the device, so that it is the same on every attempt.
    private func isBad(_ flight: ModelLink.Flight) -> Bool {
        (flight.truth.number * 31 + flight.push) % 100 < Int(world.plan.badDevices * 100)
    }

    private func deliver(_ flight: ModelLink.Flight) {
        world.checker.delivered(flight.truth, flight.push)
        world.trace(.processed, 0, flight.truth.number, flight.push)
    }

    // MARK: Connections go wrong

    private func someLink() -> ModelLink? {
        links.removeAll { $0.state == .closed || $0.isServerGone }
        // One at work, if there is one: a fault that nobody notices teaches nothing.
        let busy = links.filter { !$0.open.isEmpty }
        let choice = busy.isEmpty ? links : busy
        return choice.isEmpty ? nil : world.random.pick(choice)
    }

    /// Every connection of a process that has died; what it had written may still be read.
    func processDied(_ gateway: ModelGateway) {
        for link in links where link.client.gateway === gateway {
            link.state = .closed
            if world.random.chance(0.5) { link.isServerGone = true }
        }
    }

    func loseConnection() {
        guard let link = someLink() else { return }
        link.isServerGone = true
        link.client.gateway.deliver(after: oneWay()) { link.client.lost(link) }
    }

    /// Nothing gets through any more in one direction or the other, and nobody says so; pings find out.
    func blackHole() {
        guard let link = someLink() else { return }
        if world.random.chance(0.5) { link.isServerGone = true } else { link.isMute = true }
        link.client.gateway.deliver(after: world.random.within(5...15) * .second) { link.client.lost(link) }
    }

    func goAway() {
        guard let link = someLink() else { return }
        let isGraceful = world.random.chance(0.5)
        if isGraceful {
            // First with the highest id there is, then with the true one.
            link.client.gateway.deliver(after: oneWay()) { link.client.goAway(last: Int(Int32.max), on: link) }
        }
        let delay = isGraceful ? 2 * oneWay() : 0
        world.after(delay) { [self] in
            // Everything that was judged is at or below; of what is on its way, some may be, too.
            link.serverLast = link.lastJudged + 2 * world.random.within(0...3)
            link.client.gateway.deliver(after: oneWay()) { link.client.goAway(last: link.serverLast, on: link) }
            let timeout = isGraceful ? world.random.within(1...5) * .second : oneWay() / 2
            world.after(timeout) { [self] in
                if !isGraceful { link.isMute = true }
                link.client.gateway.deliver(after: oneWay()) { link.client.lost(link) }
            }
        }
    }
}
