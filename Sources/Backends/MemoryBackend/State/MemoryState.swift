import PushModel
import PushStore

/// The content of a `MemoryStore`: plain data without a lock or a clock.
///
/// All changes of a batch are made inside `change`, which then brings the indexes and counters up to date.
struct MemoryState: Sendable {
    /// Where waiting batches are claimed from.
    struct WaitingList: Sendable, Hashable {
        var appLane: AppLane
        var standing: BatchEntry.Standing
    }

    struct Load: Sendable, Equatable {
        var batches = 0
        var pushes = 0
    }

    /// Pushes that an app may take in a turn: half of a full batch, so that a full batch waits for its second turn and
    /// single pushes of other apps are claimed in between.
    static let quantum = 500

    // MARK: Batches; changed by `insert`, `change` and `remove` only

    private(set) var entries: [BatchID: BatchEntry] = [:]
    private(set) var waiting: [WaitingList: SortedList<TimedBatch>] = [:]
    /// Waiting batches by their deadline.
    private(set) var expiring = SortedList<TimedBatch>()
    private(set) var leased: Set<BatchID> = []
    private(set) var ended = SortedList<TimedBatch>()
    /// Batches that have not ended. A lane of an app without batches has no entry.
    private(set) var loads: [AppLane: Load] = [:]
    /// Bytes of all batches and idempotency records.
    var bytesUsed = 0

    // MARK: The rest

    let tokenHashKey = TokenHashKey.random()
    /// The instances that are open.
    private(set) var owners: Set<Int> = []
    private var lastOwner = 0
    /// The key of the batch that was appended last.
    var newestKey = 0
    var paused: [AppID: WallTime] = [:]
    var idempotencyRecords: [IdempotencyKey: IdempotencyRecord] = [:]
    var letters: [PushID: DeadLetter] = [:]
    var letterIDs = SortedList<PushID>()
    /// Pushes with a collapse ID in batches that wait, or waited before they were claimed.
    var collapses: [CollapseTarget: [CollapseRow]] = [:]
    /// Whose turn it is in each lane.
    var turns = Lane.allCases.map { _ in DeficitRoundRobin<AppEnvironment>(quantum: Self.quantum) }
    /// The app whose quarantined batches were claimed last.
    var lastQuarantinedApp: AppEnvironment?
    /// Pushes settled by the running operation.
    private var settled: [(key: OutcomeCounts.Key, pushes: Int)] = []

    var isEmpty: Bool {
        entries.isEmpty && waiting.isEmpty && expiring.isEmpty && leased.isEmpty && ended.isEmpty && loads.isEmpty
            && letters.isEmpty && letterIDs.isEmpty && collapses.isEmpty && idempotencyRecords.isEmpty
    }

    // MARK: Changes of batches

    mutating func insert(_ entry: BatchEntry) {
        entries[entry.id] = entry
        account(entry, from: nil, to: Footprint(entry))
    }

    /// - Parameter body: finds the batch in its second argument, and not in `entries`.
    /// - Returns: nil for a batch that the store does not have.
    @discardableResult
    mutating func change<Result>(
        _ id: BatchID, _ body: (inout MemoryState, inout BatchEntry) -> Result
    ) -> Result? {
        // Taken out meanwhile, so that its arrays are not copied.
        guard var entry = entries.removeValue(forKey: id) else { return nil }
        let before = Footprint(entry)
        let result = body(&self, &entry)
        account(entry, from: before, to: Footprint(entry))
        entries[id] = entry
        return result
    }

    mutating func remove(_ id: BatchID) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        account(entry, from: Footprint(entry), to: nil)
    }

    /// The part of a batch that the indexes and counters hold.
    private struct Footprint {
        enum Position: Equatable {
            case waiting(WaitingList, due: WallTime)
            case leased
            case ended(at: WallTime)
        }

        var position: Position
        /// Of a waiting batch.
        var deadline: WallTime?
        var bytes: Int
        var load: Load

        init(_ entry: BatchEntry) {
            position =
                switch entry.phase {
                case .waiting(let due):
                    .waiting(WaitingList(appLane: entry.appLane, standing: entry.standing), due: due)
                case .leased: .leased
                case .ended(let at): .ended(at: at)
                }
            deadline = entry.isWaiting ? entry.deadline : nil
            bytes = entry.bytes
            load = entry.isEnded ? Load() : Load(batches: 1, pushes: entry.ledger.unsettled)
        }
    }

    private mutating func account(_ entry: BatchEntry, from before: Footprint?, to after: Footprint?) {
        bytesUsed += (after?.bytes ?? 0) - (before?.bytes ?? 0)
        let (old, new) = (before?.load ?? Load(), after?.load ?? Load())
        if old != new {
            var load = loads[entry.appLane] ?? Load()
            load.batches += new.batches - old.batches
            load.pushes += new.pushes - old.pushes
            loads[entry.appLane] = load == Load() ? nil : load
        }
        if before?.deadline != after?.deadline {
            if let at = before?.deadline { expiring.remove(TimedBatch(at: at, key: entry.key, id: entry.id)) }
            if let at = after?.deadline { expiring.insert(TimedBatch(at: at, key: entry.key, id: entry.id)) }
        }
        guard before?.position != after?.position else { return }
        switch before?.position {
        case .waiting(let list, let due):
            waiting[list]?.remove(TimedBatch(at: due, key: entry.key, id: entry.id))
            if waiting[list]?.isEmpty == true { waiting[list] = nil }
        case .leased: leased.remove(entry.id)
        case .ended(let at): ended.remove(TimedBatch(at: at, key: entry.key, id: entry.id))
        case nil: break
        }
        switch after?.position {
        case .waiting(let list, let due):
            waiting[list, default: SortedList()].insert(TimedBatch(at: due, key: entry.key, id: entry.id))
        case .leased: leased.insert(entry.id)
        case .ended(let at): ended.insert(TimedBatch(at: at, key: entry.key, id: entry.id))
        case nil: break
        }
    }

    // MARK: Instances

    mutating func addOwner() -> Int {
        lastOwner += 1
        owners.insert(lastOwner)
        return lastOwner
    }

    /// Ends the leases of an instance.
    ///
    /// - Parameter isCrash: whether they count as leases whose holder died.
    mutating func removeOwner(_ owner: Int, isCrash: Bool) {
        guard owners.remove(owner) != nil else { return }
        for id in leased {
            change(id) { _, entry in
                guard case .leased(owner, _, _) = entry.phase else { return }
                if isCrash { entry.lapse(mayReturn: false) } else { entry.wait() }
            }
        }
    }

    // MARK: Counts of settled pushes

    mutating func count(_ outcomes: [Outcome], of app: AppID) {
        OutcomeCounts.runs(of: outcomes, app: app) { settled.append(($0, $1)) }
    }

    mutating func takeSettled() -> [(key: OutcomeCounts.Key, pushes: Int)] {
        guard !settled.isEmpty else { return [] }
        defer { settled = [] }
        return settled
    }
}
