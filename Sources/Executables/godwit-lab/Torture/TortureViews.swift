/// The four logs of a run.
package struct TortureLogs: Sendable {
    package var client: [ClientLine]
    package var apns: [APNSLine]
    package var store: [StoreLine]
    package var events: [EventLine]

    package init(
        client: [ClientLine] = [], apns: [APNSLine] = [], store: [StoreLine] = [], events: [EventLine] = []
    ) {
        self.client = client
        self.apns = apns
        self.store = store
        self.events = events
    }
}

/// The client's log, indexed by device and by ID.
struct ClientView {
    /// By device: the request that contained its push.
    private(set) var requests: [Int: SentRequest] = [:]
    /// By ID: the device.
    private(set) var accepted: [String: Int] = [:]
    /// By ID: the device, for pushes whose acceptance the gateway could not confirm.
    private(set) var unconfirmed: [String: Int] = [:]
    /// Devices whose push was refused in every response.
    private(set) var refused: Set<Int> = []
    /// Devices whose push received no definite response.
    private(set) var unknown: Set<Int> = []
    /// IDs whose cancellation was requested.
    private(set) var cancelling: Set<String> = []
    /// By ID: when its cancellation was confirmed.
    private(set) var cancelled: [String: Int64] = [:]

    init(_ lines: [ClientLine]) {
        var byRequest: [Int: SentRequest] = [:]
        for case let sent? in lines.map(\.sent) {
            byRequest[sent.request] = sent
            for device in sent.first..<sent.first + sent.count { requests[device] = sent }
        }
        for line in lines {
            if let push = line.cancelled {
                cancelling.insert(push.id)
                if push.isConfirmed, cancelled[push.id] == nil { cancelled[push.id] = line.at }
            }
            guard let response = line.completed, let sent = byRequest[response.request] else { continue }
            for (index, item) in response.items.enumerated() { add(item, device: sent.first + index) }
        }
        refused.subtract(accepted.values)
        refused.subtract(unconfirmed.values)
        unknown = Set(requests.keys).subtracting(accepted.values).subtracting(refused)
    }

    private mutating func add(_ item: CompletedRequest.Item, device: Int) {
        switch (item.result, item.id) {
        case (.accepted, let id?): accepted[id] = device
        case (_, let id?): unconfirmed[id] = device
        case (.refused, nil): refused.insert(device)
        case (_, nil): break
        }
    }

    /// By device: the IDs under which its push was accepted or arrived at APNs.
    func ids(with arrivals: [APNSLine]) -> [Int: Set<String>] {
        var ids: [Int: Set<String>] = [:]
        for (id, device) in accepted { ids[device, default: []].insert(id) }
        for line in arrivals {
            if let device = line.device { ids[device, default: []].insert(line.id) }
        }
        return ids
    }
}

/// When the gateway exited, and when connections were cut.
struct EventView {
    /// Ascending.
    private var exits: [Int64] = []
    /// By connection: when a fault that ends connections left a push on it without an answer. Ascending.
    private var cuts: [UInt64: [Int64]] = [:]
    /// By connection: when its first and its last push arrived.
    private var opened: [UInt64: Int64] = [:]
    private var lastUsed: [UInt64: Int64] = [:]
    /// Connections on which APNs answered 5xx. The client may close such a connection with its open streams.
    private var failing: Set<UInt64> = []

    init(_ events: [EventLine], _ arrivals: [APNSLine]) {
        exits = events.filter { $0.kind == .killed || $0.kind == .crashed }.map(\.at).sorted()
        let faults = events.filter { $0.kind == .fault || $0.kind == .faultCleared }.sorted { $0.at < $1.at }
        for line in arrivals {
            if opened[line.connection] == nil { opened[line.connection] = line.at }
            lastUsed[line.connection] = line.at
            if line.status >= 500 { failing.insert(line.connection) }
        }
        for line in arrivals where line.status == 0 {
            // The fault that was active on arrival. A connection may end some time after the fault that broke it.
            guard faults.last(where: { $0.at <= line.at })?.breaksConnections == true else { continue }
            cuts[line.connection, default: []].append(line.at)
        }
    }

    /// Whether the gateway that sent `push` exited at most `limit` ms after its arrival, and not after `end`.
    ///
    /// The exit may precede the arrival, because the bytes that a process has written arrive even after its exit. The
    /// connection is then older than the exit.
    func hasExit(after push: APNSLine, within limit: Int64, before end: Int64) -> Bool {
        exits.contains { exit in
            guard exit <= end, exit <= push.at + limit else { return false }
            return exit >= push.at || opened[push.connection, default: push.at] <= exit + Self.transitMax
        }
    }

    /// Milliseconds from the write of a push to its arrival.
    private static let transitMax: Int64 = 250

    /// Whether the connection of `push` was cut by a fault before its answer is certain to have arrived, or was closed
    /// by the gateway because of errors and not used again.
    func wasCut(_ push: APNSLine, before end: Int64) -> Bool {
        if failing.contains(push.connection), lastUsed[push.connection, default: end] <= end { return true }
        // The simulator logs answers on a dead connection, but they do not arrive.
        return cuts[push.connection]?.contains { $0 >= push.at - 10_000 && $0 <= end } ?? false
    }
}
