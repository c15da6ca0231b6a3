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

/// The client's log by device and by id.
struct ClientView {
    /// By device: the request that its push was part of.
    private(set) var requests: [Int: SentRequest] = [:]
    /// By id: the device.
    private(set) var accepted: [String: Int] = [:]
    /// Ids that the gateway named without being sure: the device.
    private(set) var inDoubt: [String: Int] = [:]
    /// Devices whose push was refused, and nothing else ever said of it.
    private(set) var refused: Set<Int> = []
    /// Devices whose push was never answered for certain.
    private(set) var unknown: Set<Int> = []
    /// Ids whose cancellation was asked for.
    private(set) var cancelling: Set<String> = []
    /// By id: when the client was told that it is cancelled.
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
            guard let answer = line.answered, let sent = byRequest[answer.request] else { continue }
            for (index, item) in answer.items.enumerated() { take(item, device: sent.first + index) }
        }
        refused.subtract(accepted.values)
        refused.subtract(inDoubt.values)
        unknown = Set(requests.keys).subtracting(accepted.values).subtracting(refused)
    }

    private mutating func take(_ item: CompletedRequest.Item, device: Int) {
        switch (item.word, item.id) {
        case (.accepted, let id?): accepted[id] = device
        case (_, let id?): inDoubt[id] = device
        case (.refused, nil): refused.insert(device)
        case (_, nil): break
        }
    }

    /// By device: the ids under which its push was accepted or came to APNs.
    func ids(with arrivals: [APNSLine]) -> [Int: Set<String>] {
        var ids: [Int: Set<String>] = [:]
        for (id, device) in accepted { ids[device, default: []].insert(id) }
        for line in arrivals {
            if let device = line.device { ids[device, default: []].insert(line.id) }
        }
        return ids
    }
}

/// When the gateway died, and when connections were cut.
struct EventView {
    /// Ascending.
    private var deaths: [Int64] = []
    /// By connection: when a fault that ends connections left a push on it without an answer. Ascending.
    private var breaks: [UInt64: [Int64]] = [:]
    /// By connection: when its first push came, and its last.
    private var opened: [UInt64: Int64] = [:]
    private var lastUsed: [UInt64: Int64] = [:]
    /// Connections on which APNs answered 5xx: a client may take one for sick and give it up with all that is on it.
    private var sick: Set<UInt64> = []

    init(_ events: [EventLine], _ arrivals: [APNSLine]) {
        deaths = events.filter { $0.kind == .killed || $0.kind == .died }.map(\.at).sorted()
        let faults = events.filter { $0.kind == .fault || $0.kind == .healed }.sorted { $0.at < $1.at }
        for line in arrivals {
            if opened[line.connection] == nil { opened[line.connection] = line.at }
            lastUsed[line.connection] = line.at
            if line.status >= 500 { sick.insert(line.connection) }
        }
        for line in arrivals where line.status == 0 {
            // The fault that was on when it came; connections that it has made sick may die a little later.
            guard faults.last(where: { $0.at <= line.at })?.breaksConnections == true else { continue }
            breaks[line.connection, default: []].append(line.at)
        }
    }

    /// Whether the gateway that had sent `push` died at most `limit` after it came, and not after `end`.
    ///
    /// Its death may even come first: what a process has written is received for a while after its end. Then the
    /// connection is older than the death.
    func hasDeath(after push: APNSLine, within limit: Int64, before end: Int64) -> Bool {
        deaths.contains { death in
            guard death <= end, death <= push.at + limit else { return false }
            return death >= push.at || opened[push.connection, default: push.at] <= death + Self.underWay
        }
    }

    /// Milliseconds from the writing of a push to its arrival.
    private static let underWay: Int64 = 250

    /// Whether a fault cut the connection on which `push` came before its answer was certain to have arrived, or the
    /// gateway gave it up for its errors and never used it again.
    func isCut(_ push: APNSLine, before end: Int64) -> Bool {
        if sick.contains(push.connection), lastUsed[push.connection, default: end] <= end { return true }
        // On a connection that has gone dead, what comes later is answered in the log and nowhere else.
        return breaks[push.connection]?.contains { $0 >= push.at - 10_000 && $0 <= end } ?? false
    }
}
