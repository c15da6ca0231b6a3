import APNSWire
import PushModel

/// The applications: they send requests, take a broken answer as unknown, cancel some of their pushes and pause themselves.
final class ModelApplications {
    unowned let world: World
    private var requestsLeft: Int
    private var actionsLeft = 0
    /// Apps that are being paused and resumed, by number.
    private var pausing: Set<Int> = []
    private let poisonRequest: Int?

    init(world: World) {
        self.world = world
        requestsLeft = world.plan.requests
        poisonRequest = world.plan.faults.contains(.poison) ? world.random.within(1...world.plan.requests) : nil
    }

    /// Whether nothing more comes from here.
    var isDone: Bool { requestsLeft == 0 && actionsLeft == 0 }

    func start() {
        for _ in 0..<world.plan.requests {
            world.after(world.random.within(0...world.plan.load)) { [self] in request() }
        }
        for _ in 0..<world.plan.pausing { world.after(world.random.within(0...world.plan.load)) { [self] in pause() } }
    }

    // MARK: Sending

    private struct Wish {
        var appIndex: Int
        var lane: Lane
        var sizes: [Int]
        var notBefore: WallTime?
        var expiration = NotificationBatch.noExpiration
        var ambiguity = AmbiguityPolicy.resend
        var isPoisonous = false
        var isCancelled = false
    }

    private func request() {
        let plan = world.plan
        var draw = world.random.within(0...plan.apps.reduce(0) { $0 + $1.weight } - 1)
        let appIndex = plan.apps.firstIndex { app in
            draw -= app.weight
            return draw < 0
        }!
        var wish = Wish(
            appIndex: appIndex, lane: world.random.pick([.urgent, .normal, .normal, .bulk]),
            sizes: [world.random.within(plan.apps[appIndex].sizes)]
        )
        // The flood is a bulk job.
        if plan.apps[appIndex].weight == 8 { wish.lane = .bulk }
        if world.random.chance(0.2) { wish.sizes.append(world.random.within(1...8)) }
        if world.random.chance(plan.scheduled) {
            wish.notBefore = world.wall + .milliseconds(world.random.within(500...20_000))
        }
        if world.random.chance(plan.expiring) {
            wish.expiration = (wish.notBefore ?? world.wall).seconds + Int64(world.random.within(2...40))
        }
        if world.random.chance(plan.dropping) { wish.ambiguity = .drop }
        wish.isCancelled = world.random.chance(plan.cancelling)
        wish.isPoisonous = poisonRequest == requestsLeft
        submit(wish)
    }

    private func submit(_ wish: Wish) {
        let open = world.gateways.filter(\.takesRequests)
        guard !open.isEmpty else {
            // Nobody listens: the application tries again.
            world.after(300 * .millisecond) { [self] in submit(wish) }
            return
        }
        let gateway = world.random.pick(open)
        let truths = wish.sizes.map { batch(wish, count: $0, at: gateway.wall) }
        world.trace(.request, gateway.number, truths[0].number, wish.sizes[0])
        requestsLeft -= 1
        gateway.accept(truths) { [world] answer in
            for truth in truths { world.checker.told(answer, about: truth) }
        }
        if wish.isCancelled { cancelLater(truths[0]) }
    }

    private func batch(_ wish: Wish, count: Int, at acceptedAt: WallTime) -> BatchGroundTruth {
        let id = BatchID(at: acceptedAt, using: &world.random)
        var pushes = NotificationBatch(firstID: id.value)
        let headers = NotificationHeaders(topic: "org.example.app", pushType: .alert)
        let payload: [UInt8] = Array("{\"aps\":{}}".utf8)
        payload.withUnsafeBytes { payload in
            for index in 0..<count {
                withUnsafeBytes(of: UInt64(index)) {
                    pushes.append(token: $0, payload: payload, headers: headers, expiration: wish.expiration)
                }
            }
        }
        let batch = Batch(
            id: id, app: world.apps[wish.appIndex], lane: wish.lane, acceptedAt: acceptedAt, notBefore: wish.notBefore,
            notifications: pushes, ambiguity: wish.ambiguity
        )
        let truth = BatchGroundTruth(
            number: world.checker.batches.count + 1, batch: batch, appIndex: wish.appIndex, submittedAt: world.now
        )
        if wish.isPoisonous { truth.poison = UInt16(world.random.within(0...count - 1)) }
        world.checker.submitted(truth)
        return truth
    }

    // MARK: Cancelling and pausing

    private func cancelLater(_ truth: BatchGroundTruth) {
        actionsLeft += 1
        world.after(world.random.within(0...10_000) * .millisecond) { [self] in
            let gateway = world.random.pick(world.gateways)
            actionsLeft -= 1
            guard gateway.takesRequests else { return }
            let indexes = truth.pushes.indices.filter { $0 % 2 == 0 }
            for index in indexes { truth.pushes[index].isCancelWanted = true }
            gateway.cancel(truth, indexes) { [world] cancelled in
                for index in cancelled {
                    truth.pushes[index].isCancelAcknowledged = true
                    world.trace(.cancelled, gateway.number, truth.number, index)
                }
            }
        }
    }

    /// One at a time for each app, and resumed for certain.
    private func pause() {
        let index = world.random.within(0...world.apps.count - 1)
        guard !world.isHealed, !pausing.contains(index) else { return }
        pausing.insert(index)
        actionsLeft += 1
        world.store.setPaused(true, app: world.apps[index]) { [self] result in
            // Only who was told that it is paused may rely on it.
            if case .success = result, world.store.paused.contains(world.apps[index]) {
                world.checker.pausedSince[index] = world.now
                world.trace(.paused, 0, index, 1)
                for gateway in world.gateways { gateway.setPaused(true, app: world.apps[index]) }
            }
            world.after(world.random.within(1_000...8_000) * .millisecond) { [self] in resume(index) }
        }
    }

    private func resume(_ index: Int) {
        world.checker.pausedSince[index] = nil
        world.store.setPaused(false, app: world.apps[index]) { [self] result in
            guard case .success = result else {
                world.after(500 * .millisecond) { [self] in resume(index) }
                return
            }
            world.trace(.paused, 0, index, 0)
            for gateway in world.gateways { gateway.setPaused(false, app: world.apps[index]) }
            pausing.remove(index)
            actionsLeft -= 1
        }
    }
}
