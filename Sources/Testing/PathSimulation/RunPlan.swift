/// The faults that a run can inject.
package enum InjectedFault: String, Sendable, CaseIterable {
    case gatewayCrash, crashBetweenSteps, gatewayPause, gatewayRestart
    case clockStep, clockDrift
    case storeSlow, storeOutage, storeLostReply, storeFull, storePowerCut
    case apnsErrors, apnsRetryAfter, apnsStall, apnsSlow, apnsDown, tokenExpiry, keyRefused
    case connectionLoss, blackHole, goAway, streamRefused, streamReset, streamLimit
    case poison

    /// Whether the wall clock is unreliable under the fault.
    var affectsClock: Bool { self == .clockStep || self == .clockDrift }
}

/// The random parameters of a run.
package struct RunPlan: Sendable {
    struct App: Sendable {
        /// The frequency of requests for this app, relative to other apps.
        var weight: Int
        /// Pushes in a request.
        var sizes: ClosedRange<Int>
    }

    /// Gateway processes, 1...3.
    var gateways: Int
    /// Whether the store is part of the only gateway's process and crashes with it. Otherwise it is a separate server.
    var isEmbedded: Bool
    var apps: [App]
    var requests: Int
    /// The period of requests and faults.
    var load: Ticks
    package var faults: Set<InjectedFault>
    /// Mean time between two events of a fault.
    var faultEvery: Ticks
    /// The probability of a crash at each critical step, if that fault is active.
    var crashAtStep: Double
    /// Mean one-way latency between a gateway and APNs.
    var apnsDelay: Ticks
    /// Mean latency of a store call.
    var storeDelay: Ticks
    var streamsMax: Int
    /// The in-flight limit of one app in one gateway.
    var window: Int
    /// The limit of pushes in the memory of a gateway.
    var memoryPushes: Int
    /// The fraction of pushes for a device that APNs does not know.
    var badDevices: Double
    /// The fraction of requests whose pushes have an expiration.
    var expiring: Double
    /// The fraction of requests with a `not_before`.
    var scheduled: Double
    /// The fraction of requests with at-most-once pushes.
    var dropping: Double
    /// The fraction of requests that are cancelled later.
    var cancelling: Double
    /// The number of times that an app is paused and resumed.
    var pausing: Int

    /// - Parameter steps: roughly how many pushes the applications send.
    init(steps: Int, random: inout SimulationRandom) {
        gateways = random.within(1...3)
        isEmbedded = gateways == 1 && random.chance(0.6)
        let isFlooded = random.chance(0.4)
        apps = [App(weight: isFlooded ? 8 : 3, sizes: isFlooded ? 20...60 : 1...20)]
        for _ in 0..<random.within(1...2) { apps.append(App(weight: random.within(1...3), sizes: 1...12)) }
        let weight = apps.reduce(0) { $0 + $1.weight }
        let perRequest = apps.reduce(0) { $0 + $1.weight * ($1.sizes.lowerBound + $1.sizes.upperBound) / 2 }
        requests = max(4, steps * weight / perRequest)
        load = random.within(5...30) * .second
        faults = []
        if !random.chance(0.25) {
            let density = random.pick([0.1, 0.25, 0.5])
            for fault in InjectedFault.allCases where random.chance(density) { faults.insert(fault) }
        }
        faultEvery = random.within(2...10) * .second
        crashAtStep = random.pick([0.005, 0.02])
        apnsDelay = random.pick([1, 10, 40, 150]) * .millisecond
        storeDelay = random.pick([1, 5, 20]) * .millisecond
        // In a run without faults, no push may wait longer than the request timeout.
        streamsMax = random.pick(faults.isEmpty ? [100, 1000] : [4, 20, 100, 1000])
        window = random.pick(faults.isEmpty ? [4_000] : [10, 40, 4_000])
        memoryPushes = random.pick([4_000, 40_000])
        badDevices = random.pick([0, 0.05])
        expiring = random.pick([0, 0.3])
        scheduled = random.pick([0, 0.2])
        dropping = random.pick([0, 0.2])
        cancelling = random.pick([0, 0.2])
        pausing = random.pick([0, 0, 1, 2])
    }
}
