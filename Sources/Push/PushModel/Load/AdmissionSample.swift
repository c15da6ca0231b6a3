/// What must be left, or must not be passed, for new pushes to be taken. nil: not looked at.
package struct AdmissionLimits: Sendable, Equatable {
    /// Pushes that wait in the queue, of all apps together. How they share it: `AdmissionPolicy`.
    package var queuedPushesMax: Int? = 5_000_000
    /// Bytes that may still be written to the store's disk.
    package var bytesFreeMin: Int? = 256 * 1024 * 1024
    /// How long an app's oldest batch that is due may have waited.
    package var oldestDueMax: Duration?
    /// Resident memory of this process, in bytes.
    package var memoryBytesMax: Int?

    package init() {}

    /// Every problem at once.
    package func problems() -> [String] {
        var problems: [String] = []
        if let queuedPushesMax, queuedPushesMax < 1 {
            problems.append("admission.queued_pushes_max must be at least 1")
        }
        if let bytesFreeMin, bytesFreeMin < 0 { problems.append("admission.disk_free_min_mib must not be negative") }
        if let oldestDueMax, oldestDueMax <= .zero {
            problems.append("admission.oldest_due_max must be longer than nothing")
        }
        if let memoryBytesMax, memoryBytesMax < 64 * 1024 * 1024 {
            problems.append("admission.memory_max_mib must be at least 64")
        }
        return problems
    }
}

/// What waits of one app.
package struct AppLoad: Sendable, Equatable {
    package var queuedPushes: Int
    /// How long its oldest batch that is due has waited; nil when none is.
    package var oldestDue: Duration?
    /// Why its pushes wait, where that is known.
    package var delay: DeliveryDelay.Reason?

    package init(queuedPushes: Int, oldestDue: Duration? = nil, delay: DeliveryDelay.Reason? = nil) {
        self.queuedPushes = queuedPushes
        self.oldestDue = oldestDue
        self.delay = delay
    }
}

/// How things stand at a moment; nil where it is not known.
package struct AdmissionSample: Sendable, Equatable {
    /// An app that is not in it has nothing that waits.
    package var apps: [AppID: AppLoad]?
    package var bytesFree: Int?
    package var memoryBytes: Int?

    package init(apps: [AppID: AppLoad]? = nil, bytesFree: Int? = nil, memoryBytes: Int? = nil) {
        self.apps = apps
        self.bytesFree = bytesFree
        self.memoryBytes = memoryBytes
    }
}
