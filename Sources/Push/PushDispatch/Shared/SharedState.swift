import PushModel
import PushStore
import Synchronization

/// The lock of `SharedState`. Taken for short operations only, also while the lock of one app is held; never the other
/// way round.
final class SharedDispatch: Sendable {
    private let state: Mutex<SharedState>

    init(_ state: SharedState) {
        self.state = Mutex(state)
    }

    func withLock<Result: Sendable>(_ body: (inout SharedState) -> Result) -> Result { state.withLock { body(&$0) } }
}

/// What the apps share: the capacity in memory, the plan of the next claim, the trial of quarantined batches and the
/// breakers of the APNs endpoints. Pure.
///
///      store ── claim ──► ┌──────────────── capacity (memory) ────────────────┐
///                         │  reserved    ready, by lane        window         │
///      accept ─ reserve ─►│  ░░░░░░░░    urgent ▓▓         ┌─────────────┐    │
///             └ hand-off ►│              normal ▓▓▓▓▓   ──►│  in flight  │────┼──► answered
///                         │              bulk   ▓▓▓▓▓▓▓▓   └─────────────┘    │        │
///                         │  held ▒▒▒▒ (a quarter at most)                    │        │
///                         │  settling ▒▒▒▒ ◄──────────────────────────────────┼────────┘
///                         └─────┼─────────────────────────────────────────────┘
///                               └── settled: the store has recorded the end, the capacity is free
///
/// - Capacity limits the pushes in memory. Each app has a share; it shrinks as more apps have work, and one share
///   always stays free for an app that has none in memory. So apps whose pushes cannot be sent never fill the memory. A
///   batch occupies capacity from its reservation or claim until the store has recorded its end.
/// - The backlog of an app is the set of lanes of which older batches may wait in the store. A lane with a backlog, and
///   the less urgent lanes, get no direct hand-off, so that new batches do not overtake older ones. A lane has a
///   backlog until a claim that was planned afterwards has returned everything that the store had.
///
/// Of the capacity, the less urgent lanes may fill a part only (`LaneShares`).
struct SharedState: Sendable {
    struct App: Sendable {
        let app: AppEnvironment
        let endpoint: Int
        /// Occupied capacity, reservations included.
        var pushes = LaneCounts()
        /// Pushes that are held until they are due.
        var held = 0
        /// By lane: the number of the first plan whose claim shows whether older batches wait in the store.
        var backlogUntil: [Int]
        /// What the app last reported about itself.
        var demand = ClaimDemand()
    }

    /// Whether an app takes more batches from the store, apart from its capacity and its endpoint.
    struct ClaimDemand: Sendable, Equatable {
        /// How many more pushes the app takes, by lane. 0: its pushes are not sent soon, or it has enough of them and of
        /// more urgent ones.
        var pushesMax = LaneCounts(repeating: .max)
        /// Ready pushes wait in memory.
        var hasReady = false
    }

    /// The app of a batch in memory.
    private struct Owner: Sendable {
        var app: Int
        /// The latest epoch.
        var epoch: UInt64
        /// A batch has several leases in memory until the store reports the older ones as lost.
        var leases = 1
    }

    let limits: DispatchLimits
    var generator: SeededGenerator
    var apps: [App] = []
    private(set) var numbers: [AppEnvironment: Int] = [:]
    var endpoints: [Endpoint] = []
    /// Occupied capacity of all apps.
    private(set) var pushes = LaneCounts()
    /// Apps that occupy capacity.
    private var activeApps = 0
    /// Held pushes of all apps.
    private var held = 0
    private var owners: [BatchID: Owner] = [:]
    /// The number of claims that were planned, and the latest one that returned everything that the store had.
    var plans = 0
    var completePlan = 0
    var quarantine = Quarantine()
    var isDraining = false
    private(set) var pausedApps: Set<AppID> = []

    init(limits: DispatchLimits, seed: UInt64) {
        self.limits = limits
        generator = SeededGenerator(seed: seed)
    }

    // MARK: Apps

    /// Adds an app.
    ///
    /// - Returns: its number, which never changes.
    mutating func add(_ app: AppEnvironment, endpoint name: String, breaker: CircuitBreaker.Settings) -> Int {
        let number = apps.count
        let endpoint = endpoints.firstIndex { $0.name == name } ?? endpoints.count
        if endpoint == endpoints.count { endpoints.append(Endpoint(name: name, settings: breaker)) }
        // Only a later claim shows whether batches of the app wait in the store.
        apps.append(App(app: app, endpoint: endpoint, backlogUntil: Lane.allCases.map { _ in plans + 1 }))
        numbers[app] = number
        return number
    }

    mutating func setPaused(_ isPaused: Bool, app: AppID) {
        if isPaused { pausedApps.insert(app) } else { pausedApps.remove(app) }
    }

    // MARK: Capacity

    /// The number of pushes of `lane` that the app may add.
    func capacity(of number: Int, for lane: Lane) -> Int {
        min(
            limits.totalShares.capacity(for: lane, used: pushes, limit: limits.pushesMax),
            limits.capacityShares.capacity(for: lane, used: apps[number].pushes, limit: capacityPerApp(asking: number))
        )
    }

    /// The app's share of the capacity. One share always stays free for an app without pushes in memory.
    private func capacityPerApp(asking number: Int) -> Int {
        let sharing = activeApps + (apps[number].pushes.total == 0 ? 1 : 0)
        let share = min(limits.pushesPerAppMax, limits.pushesMax / (sharing + 1))
        return max(share, min(limits.pushesPerAppMin, limits.pushesPerAppMax))
    }

    mutating func acquireCapacity(_ count: Int, of number: Int, _ lane: Lane) {
        if apps[number].pushes.total == 0 { activeApps += 1 }
        pushes[lane] += count
        apps[number].pushes[lane] += count
    }

    mutating func releaseCapacity(_ count: Int, of number: Int, _ lane: Lane) {
        guard count > 0 else { return }
        pushes[lane] -= count
        apps[number].pushes[lane] -= count
        if apps[number].pushes.total == 0 { activeApps -= 1 }
    }

    /// Reserves capacity for a direct hand-off.
    ///
    /// - Returns: false if there is none, or if older batches of the lane or a more urgent one may wait in the store.
    mutating func reserve(_ count: Int, for number: Int, lane: Lane) -> Bool {
        let backlog = Lane.allCases.prefix(Int(lane.rawValue) + 1).contains { hasBacklog(number, $0) }
        guard !isDraining, !backlog, capacity(of: number, for: lane) >= count else { return false }
        acquireCapacity(count, of: number, lane)
        return true
    }

    /// Counts pushes that are held until they are due, which occupy a fixed share of the capacity at most.
    ///
    /// - Returns: false if there are too many; then nothing has changed.
    mutating func hold(_ count: Int, of number: Int) -> Bool {
        guard Double(held + count) <= limits.heldShare * Double(limits.pushesMax),
            Double(apps[number].held + count) <= limits.heldShare * Double(limits.pushesPerAppMax)
        else { return false }
        held += count
        apps[number].held += count
        return true
    }

    /// Subtracts pushes that are no longer held.
    mutating func endHold(_ count: Int, of number: Int) {
        held -= count
        apps[number].held -= count
    }

    // MARK: Batches in memory

    var isEmpty: Bool { owners.isEmpty }

    /// A batch is in memory; its capacity is acquired.
    mutating func added(_ batch: ClaimedBatch, of number: Int) {
        let lease = batch.lease
        if let owner = owners[lease.batch] {
            owners[lease.batch] = Owner(app: number, epoch: max(owner.epoch, lease.epoch), leases: owner.leases + 1)
        } else {
            owners[lease.batch] = Owner(app: number, epoch: lease.epoch)
        }
        if batch.isQuarantined { quarantine.added(lease) }
    }

    /// A batch has left memory.
    mutating func removed(_ lease: Lease, of number: Int, _ lane: Lane, occupied: Int) {
        releaseCapacity(occupied, of: number, lane)
        quarantine.removed(lease)
        guard let owner = owners[lease.batch] else { return }
        owners[lease.batch]!.leases -= 1
        if owner.leases == 1 { owners[lease.batch] = nil }
    }

    /// The apps of batches in memory, ascending, each with its leases in their order.
    func owners(of leases: some Sequence<Lease>) -> [(app: AppEnvironment, leases: [Lease])] {
        var groups: [Int: [Lease]] = [:]
        for lease in leases {
            if let owner = owners[lease.batch] { groups[owner.app, default: []].append(lease) }
        }
        return groups.sorted { $0.key < $1.key }.map { (apps[$0.key].app, $0.value) }
    }

    /// The current lease of a batch in memory.
    func lease(of batch: BatchID) -> Lease? { owners[batch].map { Lease(batch: batch, epoch: $0.epoch) } }
}
