/// What must be left, or must not be passed, for new pushes to be taken. nil: not looked at.
package struct AdmissionLimits: Sendable, Equatable {
    /// Pushes that wait in the queue.
    package var queuedPushesMax: Int? = 5_000_000
    /// Bytes that may still be written to the store's disk.
    package var bytesFreeMin: Int? = 256 * 1024 * 1024
    /// How long the oldest batch that is due may have waited.
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

/// How things stand at a moment; nil where it is not known.
package struct AdmissionSample: Sendable, Equatable {
    package var queuedPushes: Int?
    package var bytesFree: Int?
    /// How long the oldest batch that is due has waited; `.zero` when none is.
    package var oldestDue: Duration?
    package var memoryBytes: Int?

    package init(
        queuedPushes: Int? = nil, bytesFree: Int? = nil, oldestDue: Duration? = nil, memoryBytes: Int? = nil
    ) {
        self.queuedPushes = queuedPushes
        self.bytesFree = bytesFree
        self.oldestDue = oldestDue
        self.memoryBytes = memoryBytes
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

    /// What is short, for a human.
    package var text: String {
        switch self {
        case .disk: "the store's disk is nearly full"
        case .memory: "this instance is short of memory"
        case .queue: "too many pushes wait in the queue"
        case .age: "pushes have waited in the queue for too long"
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

/// Whether new pushes are taken, decided before anything of them is written: what was taken is never refused later.
///
/// Pure. What closes it must have eased off by some more before it opens again, so that it does not flap at the limit:
/// the queue, its age and memory to 90 % of the limit, the disk to a quarter above it, or 64 MiB if that is less.
package struct AdmissionPolicy: Sendable {
    /// Bytes over the limit before the disk counts as free again.
    package static func bytesFreeMargin(of limit: Int) -> Int { min(64 * 1024 * 1024, limit / 4) }

    package let limits: AdmissionLimits
    /// Whether each is short, by raw value.
    private var isShort = [Bool](repeating: false, count: AdmissionRefusal.allCases.count + 1)

    package init(limits: AdmissionLimits) {
        self.limits = limits
    }

    /// The gravest of what is short; nil when pushes are taken.
    package var refusal: AdmissionRefusal? { AdmissionRefusal.allCases.first { isShort[Int($0.rawValue)] } }

    /// - Returns: `refusal`. What is not known in `sample` is taken to be as it was.
    package mutating func update(_ sample: AdmissionSample) -> AdmissionRefusal? {
        judge(.queue, sample.queuedPushes.map(Double.init), max: limits.queuedPushesMax.map(Double.init))
        judge(.memory, sample.memoryBytes.map(Double.init), max: limits.memoryBytesMax.map(Double.init))
        judge(.age, sample.oldestDue.map { $0 / .seconds(1) }, max: limits.oldestDueMax.map { $0 / .seconds(1) })
        if let min = limits.bytesFreeMin, let free = sample.bytesFree {
            let wasShort = isShort[Int(AdmissionRefusal.disk.rawValue)]
            isShort[Int(AdmissionRefusal.disk.rawValue)] = free < (wasShort ? min + Self.bytesFreeMargin(of: min) : min)
        }
        return refusal
    }

    private mutating func judge(_ what: AdmissionRefusal, _ value: Double?, max: Double?) {
        guard let max, let value else { return }
        let index = Int(what.rawValue)
        isShort[index] = isShort[index] ? value > max * 0.9 : value > max
    }
}
