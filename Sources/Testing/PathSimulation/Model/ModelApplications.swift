import APNSWire
import PushModel

/// The applications. They send requests, cancel some of their pushes, and are paused and resumed.
final class ModelApplications {
    unowned let simulation: Simulation
    private var requestsLeft: Int
    private var actionsLeft = 0
    /// Indexes of apps that are being paused or resumed.
    private var pausing: Set<Int> = []
    private let poisonRequest: Int?

    init(simulation: Simulation) {
        self.simulation = simulation
        requestsLeft = simulation.plan.requests
        poisonRequest =
            simulation.plan.faults.contains(.poison) ? simulation.random.within(1...simulation.plan.requests) : nil
    }

    /// Whether all requests and actions are done.
    var isDone: Bool { requestsLeft == 0 && actionsLeft == 0 }

    func start() {
        for _ in 0..<simulation.plan.requests {
            simulation.after(simulation.random.within(0...simulation.plan.load)) { [self] in sendRequest() }
        }
        for _ in 0..<simulation.plan.pausing {
            simulation.after(simulation.random.within(0...simulation.plan.load)) { [self] in pause() }
        }
    }

    // MARK: Sending

    /// The random parameters of a request.
    private struct RequestPlan {
        var appIndex: Int
        var lane: Lane
        var sizes: [Int]
        var notBefore: WallTime?
        var expiration = NotificationBatch.noExpiration
        var ambiguity = AmbiguityPolicy.resend
        var isPoisonous = false
        var isCancelled = false
    }

    private func sendRequest() {
        let plan = simulation.plan
        var remaining = simulation.random.within(0...plan.apps.reduce(0) { $0 + $1.weight } - 1)
        let appIndex = plan.apps.firstIndex { app in
            remaining -= app.weight
            return remaining < 0
        }!
        var request = RequestPlan(
            appIndex: appIndex, lane: simulation.random.pick([.urgent, .normal, .normal, .bulk]),
            sizes: [simulation.random.within(plan.apps[appIndex].sizes)]
        )
        // The app with the large requests sends bulk pushes.
        if plan.apps[appIndex].weight == 8 { request.lane = .bulk }
        if simulation.random.chance(0.2) { request.sizes.append(simulation.random.within(1...8)) }
        if simulation.random.chance(plan.scheduled) {
            request.notBefore = simulation.wall + .milliseconds(simulation.random.within(500...20_000))
        }
        if simulation.random.chance(plan.expiring) {
            let lifetime = Int64(simulation.random.within(2...40))
            request.expiration =
                simulation.random.chance(0.2) ? 0 : (request.notBefore ?? simulation.wall).seconds + lifetime
        }
        if simulation.random.chance(plan.dropping) { request.ambiguity = .drop }
        request.isCancelled = simulation.random.chance(plan.cancelling)
        submit(request)
    }

    private func submit(_ plan: RequestPlan) {
        var request = plan
        let open = simulation.gateways.filter(\.isAccepting)
        guard !open.isEmpty else {
            // No gateway is running: the application retries.
            simulation.after(300 * .millisecond) { [self] in submit(request) }
            return
        }
        let gateway = simulation.random.pick(open)
        // Decided here and not in `sendRequest`: several requests may wait until a gateway accepts, and one is poisonous.
        request.isPoisonous = poisonRequest == requestsLeft
        requestsLeft -= 1
        let truths = request.sizes.map { batch(request, count: $0, at: gateway.wall) }
        simulation.trace(.request, gateway.number, truths[0].number, request.sizes[0])
        gateway.accept(truths) { [simulation] response in
            for truth in truths { simulation.checker.responded(response, to: truth) }
        }
        if request.isCancelled { cancelLater(truths[0]) }
    }

    private func batch(_ request: RequestPlan, count: Int, at acceptedAt: WallTime) -> BatchGroundTruth {
        let id = BatchID(at: acceptedAt, using: &simulation.random)
        var pushes = NotificationBatch(firstID: id.value)
        let headers = NotificationHeaders(topic: "org.example.app", pushType: .alert)
        let payload: [UInt8] = Array("{\"aps\":{}}".utf8)
        payload.withUnsafeBytes { payload in
            for index in 0..<count {
                withUnsafeBytes(of: UInt64(index)) {
                    pushes.append(token: $0, payload: payload, headers: headers, expiration: request.expiration)
                }
            }
        }
        let batch = Batch(
            id: id, app: simulation.apps[request.appIndex], lane: request.lane, acceptedAt: acceptedAt,
            dueTimes: PushColumn(shared: request.notBefore), notifications: pushes, ambiguity: request.ambiguity
        )
        let truth = BatchGroundTruth(
            number: simulation.checker.batches.count + 1, batch: batch, appIndex: request.appIndex,
            submittedAt: simulation.now
        )
        if request.isPoisonous { truth.poison = UInt16(simulation.random.within(0...count - 1)) }
        simulation.checker.submitted(truth)
        return truth
    }

    // MARK: Cancel and pause

    private func cancelLater(_ truth: BatchGroundTruth) {
        actionsLeft += 1
        simulation.after(simulation.random.within(0...10_000) * .millisecond) { [self] in
            let gateway = simulation.random.pick(simulation.gateways)
            actionsLeft -= 1
            guard gateway.isAccepting else { return }
            let indexes = truth.pushes.indices.filter { $0 % 2 == 0 }
            for index in indexes { truth.pushes[index].isCancelRequested = true }
            gateway.cancel(truth, indexes) { [simulation] cancelled in
                for index in cancelled {
                    truth.pushes[index].isCancelConfirmed = true
                    simulation.trace(.cancelled, gateway.number, truth.number, index)
                }
            }
        }
    }

    /// Pauses a random app and resumes it later, one pause at a time for each app.
    private func pause() {
        let index = simulation.random.within(0...simulation.apps.count - 1)
        guard !simulation.isHealed, !pausing.contains(index) else { return }
        pausing.insert(index)
        actionsLeft += 1
        simulation.store.setPaused(true, app: simulation.apps[index]) { [self] result in
            // Without a confirmation the application cannot rely on the pause.
            if case .success = result, simulation.store.paused.contains(simulation.apps[index]) {
                simulation.checker.pausedSince[index] = simulation.now
                simulation.trace(.paused, 0, index, 1)
                for gateway in simulation.gateways { gateway.setPaused(true, app: simulation.apps[index]) }
            }
            simulation.after(simulation.random.within(1_000...20_000) * .millisecond) { [self] in resume(index) }
        }
    }

    private func resume(_ index: Int) {
        simulation.checker.pausedSince[index] = nil
        simulation.store.setPaused(false, app: simulation.apps[index]) { [self] result in
            guard case .success = result else {
                simulation.after(500 * .millisecond) { [self] in resume(index) }
                return
            }
            simulation.trace(.paused, 0, index, 0)
            for gateway in simulation.gateways { gateway.setPaused(false, app: simulation.apps[index]) }
            pausing.remove(index)
            actionsLeft -= 1
        }
    }
}
