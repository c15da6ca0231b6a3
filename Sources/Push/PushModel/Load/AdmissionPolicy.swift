/// Whether new pushes are taken, decided before anything of them is written: what was taken is never refused later.
///
/// Pure. Disk and memory are everybody's: when they are short, nobody's pushes are taken. Queue and age are an app's own,
/// so that a backlog closes no other app:
///
/// - **Queue.** A tenth of `queuedPushesMax` is reserved, in equal parts, one for each configured app. Within its
///   reserve an app is never refused for a queue. The rest is everybody's, but an app may have there no more than
///   `greed` times what is still free. So whoever has a large backlog is refused first; each further app of that kind
///   finds at least a fifth of what was free before it came; and apps that grow together get equal parts.
/// - **Age.** An app is refused for its own oldest batch only, and not for one that waits because it was paused or its
///   credential is refused: that tells nothing of the load.
///
/// All that waits, with the reserves that are not used, stays within `queuedPushesMax`: an app's intake makes that sum
/// grow only when the app is beyond its reserve, and there it is let in only while something is free. What comes between
/// two looks is on top of that.
///
/// What closes must have eased off by some more before it opens again, so that it does not flap at the limit: queue, age
/// and memory to 90 % of the limit (an app within its reserve at once), the disk to a quarter above it, or 64 MiB
/// if that is less.
package struct AdmissionPolicy: Sendable {
    /// Bytes over the limit before the disk counts as free again.
    package static func bytesFreeMargin(of limit: Int) -> Int { min(64 * 1024 * 1024, limit / 4) }
    /// The part of `queuedPushesMax` that is dealt out to the configured apps.
    package static let reserved = 0.1
    /// How many times what is free an app may have beyond its reserve, where there are others.
    package static let borrowFactor = 4.0
    private static let hysteresis = 0.9

    package let limits: AdmissionLimits
    private let apps: [AppID]
    private var isDiskShort = false
    private var isMemoryShort = false
    private var areQueuesShort: [Bool]
    private var areAgesShort: [Bool]

    /// - Parameter apps: those that are configured; they differ.
    package init(limits: AdmissionLimits, apps: [AppID]) {
        self.limits = limits
        self.apps = apps
        areQueuesShort = apps.map { _ in false }
        areAgesShort = areQueuesShort
    }

    /// What is not known in `sample` is taken to be as it was.
    package mutating func update(_ sample: AdmissionSample) -> AdmissionDecision {
        if let min = limits.bytesFreeMin, let free = sample.bytesFree {
            isDiskShort = free < (isDiskShort ? min + Self.bytesFreeMargin(of: min) : min)
        }
        if let max = limits.memoryBytesMax, let used = sample.memoryBytes {
            isMemoryShort = Double(used) > (isMemoryShort ? Self.hysteresis : 1) * Double(max)
        }
        if let loads = sample.apps {
            judgeQueues(loads)
            judgeAges(loads)
        }
        return AdmissionDecision(
            everyone: isDiskShort ? .disk : isMemoryShort ? .memory : nil,
            apps: apps.indices.map { areQueuesShort[$0] ? .queue : areAgesShort[$0] ? .age : nil }
        )
    }

    private mutating func judgeQueues(_ loads: [AppID: AppLoad]) {
        guard let max = limits.queuedPushesMax, !apps.isEmpty else { return }
        let reserve = Double(max) * Self.reserved / Double(apps.count)
        let queued = apps.map { Double(loads[$0]?.queuedPushes ?? 0) }
        // Pushes of apps that are not configured any more take room, too.
        let all = loads.values.reduce(0.0) { $0 + Double($1.queuedPushes) }
        let unused = queued.reduce(0) { $0 + Swift.max(0, reserve - $1) }
        let free = Swift.max(0, Double(max) - all - unused)
        for index in apps.indices {
            // Who is alone has nobody to leave anything to.
            let limit = apps.count > 1 ? reserve + Self.borrowFactor * free : Double(max) - (all - queued[index])
            let isOver = queued[index] > (areQueuesShort[index] ? Self.hysteresis : 1) * limit
            areQueuesShort[index] = isOver && queued[index] > reserve
        }
    }

    private mutating func judgeAges(_ loads: [AppID: AppLoad]) {
        guard let max = limits.oldestDueMax else { return }
        for (index, app) in apps.enumerated() {
            let load = loads[app]
            let age = load?.delay?.indicatesLoad == false ? .zero : load?.oldestDue ?? .zero
            areAgesShort[index] = age / max > (areAgesShort[index] ? Self.hysteresis : 1)
        }
    }
}

/// Why new pushes are not taken.
package enum AdmissionRefusal: UInt8, Sendable, CaseIterable {
    case disk = 1
    case memory
    case queue
    case age

    package var label: String {
        switch self {
        case .disk: "disk"
        case .memory: "memory"
        case .queue: "queue"
        case .age: "age"
        }
    }

    /// What is short, and whose, for a human.
    package var text: String {
        switch self {
        case .disk: "the store's disk is nearly full"
        case .memory: "this instance is short of memory"
        case .queue: "too many pushes of this app wait in the queue"
        case .age: "pushes of this app have waited in the queue for too long"
        }
    }

    /// When it is worth asking again, in seconds. A disk is not emptied at once.
    package var retryAfterSeconds: Int {
        switch self {
        case .disk: 30
        case .memory, .queue, .age: 5
        }
    }
}

/// Whose new pushes are taken.
package struct AdmissionDecision: Sendable, Equatable {
    /// Why nobody's are.
    package var everyone: AdmissionRefusal?
    /// Why those of one app are not; parallel to the apps of the policy.
    package var apps: [AdmissionRefusal?]

    package init(everyone: AdmissionRefusal? = nil, apps: [AdmissionRefusal?]) {
        self.everyone = everyone
        self.apps = apps
    }

    /// Why no push can be taken, whichever app it is for, so that none need be read; the gravest. nil: some can.
    package var unread: AdmissionRefusal? {
        if let everyone { return everyone }
        guard apps.allSatisfy({ $0 != nil }) else { return nil }
        return apps.lazy.compactMap { $0 }.min { $0.rawValue < $1.rawValue }
    }
}
