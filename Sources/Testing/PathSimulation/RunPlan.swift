/// What can go wrong in a run.
package enum Fault: String, Sendable, CaseIterable {
    case gatewayCrash, crashBetweenSteps, gatewayPause, gatewayRestart
    case clockStep, clockDrift
    case storeSlow, storeOutage, storeLostReply, storeFull, storePowerCut
    case apnsErrors, apnsRetryAfter, apnsStall, apnsSlow, apnsDown, tokenExpiry
    case connectionLoss, blackHole, goAway, streamRefused, streamReset, streamLimit
    case poison

    /// Faults after which the wall clock cannot be trusted.
    var isAboutClocks: Bool { self == .clockStep || self == .clockDrift }

    /// Faults of the connections and answers of APNs that a healthy gateway repeats nothing for.
    var isFree: Bool { self == .streamLimit || self == .clockStep || self == .tokenExpiry }
}

/// Everything about a run that is drawn before it begins.
package struct RunPlan: Sendable {
    struct App: Sendable {
        /// How often a request is for this app, relative to the others.
        var weight: Int
        /// Pushes in a request.
        var sizes: ClosedRange<Int>
    }

    /// Gateway processes, 1...3.
    var gateways: Int
    /// The store lives in the process of the one gateway and crashes with it; else it is a server of its own.
    var isEmbedded: Bool
    var apps: [App]
    var requests: Int
    /// The time in which requests come and faults happen.
    var load: Ticks
    package var faults: Set<Fault>
    /// Mean time between two events of a fault.
    var faultEvery: Ticks
    /// How likely a gateway dies at a step where dying hurts, when it may.
    var crashAtStep: Double
    /// One way between a gateway and APNs.
    var apnsDelay: Ticks
    /// What the store needs for a write.
    var storeDelay: Ticks
    var streamsMax: Int
    /// Pushes of one app that a gateway hands to its APNs client before they are answered.
    var window: Int
    /// Pushes that a gateway may hold.
    var memoryPushes: Int
    /// Of the pushes: how many are to a device that APNs does not know.
    var badDevices: Double
    /// Of the requests: how many have pushes with an expiration, a `not_before`, are dropped when unanswered, are
    /// cancelled later.
    var expiring: Double
    var scheduled: Double
    var dropping: Double
    var cancelling: Double
    /// How often an app is paused and resumed.
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
            for fault in Fault.allCases where random.chance(density) { faults.insert(fault) }
        }
        faultEvery = random.within(2...10) * .second
        crashAtStep = random.pick([0.005, 0.02])
        apnsDelay = random.pick([1, 10, 40, 150]) * .millisecond
        storeDelay = random.pick([1, 5, 20]) * .millisecond
        // Without faults nothing may take longer than a request may.
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
