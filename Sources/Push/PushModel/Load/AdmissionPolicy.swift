/// Decides whether new pushes are admitted. The decision is made before a push is written, so an accepted push is never
/// refused later.
///
/// Disk and memory are shared by all apps: if one of them is short, no app is admitted. Queue and age are limited for
/// each app, so that the backlog of one app does not affect the others:
///
/// - **Queue.** A tenth of `queuedPushesMax` is reserved, in equal parts for the configured apps. Within its reserve an
///   app is never refused for the queue. The rest is a shared pool: beyond its reserve an app may use at most
///   `borrowFactor` times the part of the pool that is still free (the dynamic thresholds of Choudhury and Hahne). So
///   an app with a large backlog is refused first, it leaves a fifth of the free pool to the next one, and apps that
///   grow together get equal parts.
/// - **Age.** An app is refused if its own oldest due batch has waited too long, unless the app is paused or APNs
///   refuses its credential: the age then says nothing about the load.
///
/// The queued pushes plus the unused reserves stay within `queuedPushesMax`. Accepting pushes increases this sum only
/// for an app beyond its reserve, and such an app is admitted only while part of the pool is free. Pushes that are
/// accepted between two samples come on top.
///
/// Each limit has hysteresis, so that the decision does not flap: queue, age and memory must fall to 90 % of the limit,
/// and free disk space must rise by a quarter of the limit, at most 64 MiB. An app that returns to its reserve is
/// admitted immediately.
///
/// Pure: the caller passes samples of the load.
package struct AdmissionPolicy: Sendable {
    /// How far above the limit the free disk space must rise, in bytes, before pushes are admitted again.
    package static func bytesFreeMargin(of limit: Int) -> Int { min(64 * 1024 * 1024, limit / 4) }
    /// The part of `queuedPushesMax` that is reserved for the configured apps.
    package static let reservedShare = 0.1
    /// How many times the free pool an app may use beyond its reserve, if there is more than one app.
    package static let borrowFactor = 4.0
    private static let hysteresis = 0.9

    package let limits: AdmissionLimits
    private let apps: [AppID]
    private var isDiskShort = false
    private var isMemoryShort = false
    /// Parallel to `apps`, as is `isTooOld`.
    private var isQueueFull: [Bool]
    private var isTooOld: [Bool]

    /// - Parameter apps: the configured apps, without duplicates.
    package init(limits: AdmissionLimits, apps: [AppID]) {
        self.limits = limits
        self.apps = apps
        isQueueFull = apps.map { _ in false }
        isTooOld = isQueueFull
    }

    /// The decision after a new sample. Values that are unknown in `sample` keep their previous state.
    package mutating func update(_ sample: AdmissionSample) -> AdmissionDecision {
        if let min = limits.bytesFreeMin, let free = sample.bytesFree {
            isDiskShort = free < (isDiskShort ? min + Self.bytesFreeMargin(of: min) : min)
        }
        if let max = limits.memoryBytesMax, let used = sample.memoryBytes {
            isMemoryShort = Double(used) > (isMemoryShort ? Self.hysteresis : 1) * Double(max)
        }
        if let loads = sample.apps {
            updateQueues(loads)
            updateAges(loads)
        }
        return AdmissionDecision(
            shared: isDiskShort ? .disk : isMemoryShort ? .memory : nil,
            apps: apps.indices.map { isQueueFull[$0] ? .queue : isTooOld[$0] ? .age : nil }
        )
    }

    private mutating func updateQueues(_ loads: [AppID: AppLoad]) {
        guard let max = limits.queuedPushesMax, !apps.isEmpty else { return }
        let reserve = Double(max) * Self.reservedShare / Double(apps.count)
        let queued = apps.map { Double(loads[$0]?.queuedPushes ?? 0) }
        // Includes the pushes of apps that are no longer configured.
        let total = loads.values.reduce(0.0) { $0 + Double($1.queuedPushes) }
        let unusedReserves = queued.reduce(0) { $0 + Swift.max(0, reserve - $1) }
        let free = Swift.max(0, Double(max) - total - unusedReserves)
        for index in apps.indices {
            // A single app has no one to share with.
            let limit = apps.count > 1 ? reserve + Self.borrowFactor * free : Double(max) - (total - queued[index])
            let isOver = queued[index] > (isQueueFull[index] ? Self.hysteresis : 1) * limit
            isQueueFull[index] = isOver && queued[index] > reserve
        }
    }

    private mutating func updateAges(_ loads: [AppID: AppLoad]) {
        guard let max = limits.oldestDueMax else { return }
        for (index, app) in apps.enumerated() {
            let load = loads[app]
            let age = load?.delay?.indicatesLoad == false ? .zero : load?.oldestDue ?? .zero
            isTooOld[index] = age / max > (isTooOld[index] ? Self.hysteresis : 1)
        }
    }
}

/// Why new pushes are not admitted.
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

    /// The reason as an error text.
    package var text: String {
        switch self {
        case .disk: "the store's disk is nearly full"
        case .memory: "this instance is short of memory"
        case .queue: "too many pushes of this app wait in the queue"
        case .age: "pushes of this app have waited in the queue for too long"
        }
    }

    /// The recommended delay before the client retries, in seconds. Freeing disk space takes longest.
    package var retryAfterSeconds: Int {
        switch self {
        case .disk: 30
        case .memory, .queue, .age: 5
        }
    }
}

/// Which apps may add new pushes.
package struct AdmissionDecision: Sendable, Equatable {
    /// Why all apps are refused: disk or memory, which they share, is short. nil if neither is.
    package var shared: AdmissionRefusal?
    /// Why each app is refused for its own load; nil if it is not. Parallel to the apps of the policy.
    package var apps: [AdmissionRefusal?]

    package init(shared: AdmissionRefusal? = nil, apps: [AdmissionRefusal?]) {
        self.shared = shared
        self.apps = apps
    }

    /// Why a request is refused before its body is read: no app is admitted. The most severe reason; nil if at least
    /// one app is admitted.
    package var allApps: AdmissionRefusal? {
        if let shared { return shared }
        guard apps.allSatisfy({ $0 != nil }) else { return nil }
        return apps.lazy.compactMap { $0 }.min { $0.rawValue < $1.rawValue }
    }
}
