import APNSWire
import PushModel

/// A model of APNs and of the network to it. It processes requests after a latency and injects faults of both. Its
/// deliveries are the ground truth.
final class ModelAPNs {
    unowned let simulation: Simulation
    /// Connections that faults can choose from.
    private var links: [ModelLink] = []

    init(simulation: Simulation) {
        self.simulation = simulation
    }

    /// A random limit of concurrent streams, for a new connection.
    func sampleStreamsMax() -> Int {
        guard simulation.isActive(.streamLimit) else { return simulation.plan.streamsMax }
        return simulation.random.pick([0, 1, 1, 1000])
    }

    private func oneWayLatency() -> Ticks {
        simulation.random.around(
            simulation.isActive(.apnsSlow) ? simulation.plan.apnsDelay + 2 * .second : simulation.plan.apnsDelay)
    }

    func receive(_ streams: [ModelLink.Stream], on link: ModelLink) {
        if !links.contains(where: { $0 === link }) { links.append(link) }
        simulation.after(oneWayLatency()) { [self] in process(streams, on: link) }
    }

    private func process(_ streams: [ModelLink.Stream], on link: ModelLink) {
        guard !link.isServerUnreachable else { return }
        var results: [(stream: Int, result: ModelAPNsClient.StreamResult)] = []
        for stream in streams where stream.id <= link.lastAccepted {
            link.lastProcessed = max(link.lastProcessed, stream.id)
            guard let result = result(of: stream.flight) else { continue }
            results.append((stream.id, result))
        }
        guard !results.isEmpty, !link.dropsAnswers else { return }
        link.client.gateway.deliver(after: oneWayLatency()) { link.client.received(results, on: link) }
    }

    /// - Returns: nil if APNs does not answer.
    private func result(of flight: ModelLink.Flight) -> ModelAPNsClient.StreamResult? {
        if simulation.isActive(.tokenExpiry) { return .answered(answer(403, .expiredProviderToken)) }
        if simulation.isActive(.keyRefused) { return .answered(answer(403, .invalidProviderToken)) }
        if simulation.sampleFault(.streamRefused, 0.1) { return .refused }
        if simulation.sampleFault(.streamReset, 0.05) {
            if simulation.random.chance(0.5) { deliver(flight) }
            return .reset
        }
        if simulation.isActive(.apnsRetryAfter), simulation.random.chance(0.5) {
            return .answered(answer(429, .tooManyRequests, retryAfter: UInt32(simulation.random.within(1...8))))
        }
        if simulation.isActive(.apnsErrors), simulation.random.chance(0.6) {
            return .answered(
                simulation.random.pick([
                    answer(500, .internalServerError), answer(503, .serviceUnavailable), answer(429, .tooManyRequests),
                    answer(503, .shutdown),
                ])
            )
        }
        if simulation.plan.badDevices > 0, isBad(flight) {
            flight.truth.pushes[flight.push].isRejectedByAPNs = true
            return .answered(flight.index.isMultiple(of: 2) ? answer(410, .unregistered) : answer(400, .badDeviceToken))
        }
        let isSilent = simulation.sampleFault(.apnsStall, 0.1)
        if !isSilent || simulation.random.chance(0.5) { deliver(flight) }
        return isSilent ? nil : .answered(.accepted)
    }

    private func answer(_ status: UInt16, _ reason: APNSReason, retryAfter: UInt32 = 0) -> APNSAnswer {
        APNSAnswer(disposition: .answered, status: status, reason: reason, retryAfterSeconds: retryAfter)
    }

    /// A function of the device, so that it is the same for every attempt.
    private func isBad(_ flight: ModelLink.Flight) -> Bool {
        (flight.truth.number * 31 + flight.push) % 100 < Int(simulation.plan.badDevices * 100)
    }

    private func deliver(_ flight: ModelLink.Flight) {
        simulation.checker.delivered(flight.truth, flight.push)
        simulation.trace(.processed, 0, flight.truth.number, flight.push)
    }

    // MARK: Connection faults

    private func randomLink() -> ModelLink? {
        links.removeAll { $0.state == .closed || $0.isServerUnreachable }
        // Prefers a connection with open streams: a fault of an idle one has little effect.
        let busy = links.filter { !$0.open.isEmpty }
        let choice = busy.isEmpty ? links : busy
        return choice.isEmpty ? nil : simulation.random.pick(choice)
    }

    /// Closes the connections of a crashed process. APNs may still receive the requests that it had written.
    func processCrashed(_ gateway: ModelGateway) {
        for link in links where link.client.gateway === gateway {
            link.state = .closed
            if simulation.random.chance(0.5) { link.isServerUnreachable = true }
        }
    }

    func loseConnection() {
        guard let link = randomLink() else { return }
        link.isServerUnreachable = true
        link.client.gateway.deliver(after: oneWayLatency()) { link.client.lost(link) }
    }

    /// One direction of a connection drops all data. The client detects it by PING some seconds later.
    func blackHole() {
        guard let link = randomLink() else { return }
        if simulation.random.chance(0.5) { link.isServerUnreachable = true } else { link.dropsAnswers = true }
        link.client.gateway.deliver(after: simulation.random.within(5...15) * .second) { link.client.lost(link) }
    }

    func goAway() {
        guard let link = randomLink() else { return }
        let isGraceful = simulation.random.chance(0.5)
        if isGraceful {
            // A graceful shutdown starts with the highest stream ID and repeats the frame with the actual one.
            link.client.gateway.deliver(after: oneWayLatency()) { link.client.goAway(last: Int(Int32.max), on: link) }
        }
        let delay = isGraceful ? 2 * oneWayLatency() : 0
        simulation.after(delay) { [self] in
            // Covers all processed streams, and possibly some requests that are still in transit.
            link.lastAccepted = link.lastProcessed + 2 * simulation.random.within(0...3)
            link.client.gateway.deliver(after: oneWayLatency()) {
                link.client.goAway(last: link.lastAccepted, on: link)
            }
            let timeout = isGraceful ? simulation.random.within(1...5) * .second : oneWayLatency() / 2
            simulation.after(timeout) { [self] in
                if !isGraceful { link.dropsAnswers = true }
                link.client.gateway.deliver(after: oneWayLatency()) { link.client.lost(link) }
            }
        }
    }
}
