/// The limits within which new pushes are admitted. A limit of nil is not checked.
package struct AdmissionLimits: Sendable, Equatable {
    /// The most queued pushes of all apps together. `AdmissionPolicy` describes how apps share it.
    package var queuedPushesMax: Int? = 5_000_000
    /// The least free space on the store's disk, in bytes.
    package var bytesFreeMin: Int? = 256 * 1024 * 1024
    /// The longest that an app's oldest due batch may have waited.
    package var oldestDueMax: Duration?
    /// The most resident memory of this process, in bytes.
    package var memoryBytesMax: Int?

    package init() {}

    /// All invalid limits, by configuration key; empty if there is none.
    package func problems() -> [String] {
        var problems: [String] = []
        if let queuedPushesMax, queuedPushesMax < 1 {
            problems.append("admission.queued_pushes_max must be at least 1")
        }
        if let bytesFreeMin, bytesFreeMin < 0 { problems.append("admission.disk_free_min_mib must not be negative") }
        if let oldestDueMax, oldestDueMax <= .zero {
            problems.append("admission.oldest_due_max must be greater than zero")
        }
        if let memoryBytesMax, memoryBytesMax < 64 * 1024 * 1024 {
            problems.append("admission.memory_max_mib must be at least 64")
        }
        return problems
    }
}

/// The queued pushes of one app.
package struct AppLoad: Sendable, Equatable {
    package var queuedPushes: Int
    /// How long the oldest due batch has waited; nil if no batch is due.
    package var oldestDue: Duration?
    /// Why the pushes wait, if known.
    package var delay: DeliveryDelay.Reason?

    package init(queuedPushes: Int, oldestDue: Duration? = nil, delay: DeliveryDelay.Reason? = nil) {
        self.queuedPushes = queuedPushes
        self.oldestDue = oldestDue
        self.delay = delay
    }
}

/// One sample of the load. A value of nil is unknown.
package struct AdmissionSample: Sendable, Equatable {
    /// The load by app. An app without an entry has no queued pushes.
    package var apps: [AppID: AppLoad]?
    package var bytesFree: Int?
    package var memoryBytes: Int?

    package init(apps: [AppID: AppLoad]? = nil, bytesFree: Int? = nil, memoryBytes: Int? = nil) {
        self.apps = apps
        self.bytesFree = bytesFree
        self.memoryBytes = memoryBytes
    }
}
