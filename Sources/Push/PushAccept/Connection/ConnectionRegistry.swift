import Logging
import NIOCore
import Synchronization
import Telemetry

/// Limits of the open connections.
package struct ConnectionLimits: Sendable, Equatable {
    /// Open connections, including the reserve.
    package var max = 2000
    /// Open connections of one client address, without the reserve.
    package var perClient = 500
    /// Connections of `max` on which only health checks, metrics and control requests are served.
    package var reserve = 100

    package init() {}

    /// All problems, so that an operator can correct them together. Empty: the limits are valid.
    package func problems() -> [String] {
        var problems: [String] = []
        if !(10...1_000_000).contains(max) { problems.append("limits.connections_max must be 10 to 1000000") }
        if !(1..<Swift.max(max, 2)).contains(reserve) {
            problems.append("limits.connections_reserve must be at least 1 and below limits.connections_max")
        }
        if perClient < 1 { problems.append("limits.connections_per_client must be at least 1") }
        return problems
    }
}

/// All open connections: decides which new ones are served, and which old ones are closed for them.
///
/// A new connection takes the place of an old one if its client has as many as one client may have, or if all ordinary
/// ones are in use. Closed is, in this order,
///
/// 1. the one whose client has not read its responses for the longest time, if that is 5 seconds or longer;
/// 2. the one that has been idle longest, if that is a tenth of a second or longer;
/// 3. the one whose client has not read for the longest time, if that is a second or longer;
/// 4. any idle or unread one of the client that has most, if it has more than twice as many as the new one's client.
///
/// A connection for which no place is found is restricted: it belongs to the reserve, serves one request, and only one
/// for health, metrics or control. So the gateway always accepts connections, and an operator can always reach it.
final class ConnectionRegistry: Sendable {
    /// Why a connection was closed early or restricted, as a label of metrics.
    enum Pressure: Int, Sendable, CaseIterable {
        /// It was idle, and another one needed its place.
        case idle
        /// Its client did not read, and another one needed its place.
        case unread
        /// Its client has too many connections.
        case client
        /// All connections are in use.
        case full
        /// Its client did not read for the whole write timeout.
        case writeTimeout

        var label: String {
            switch self {
            case .idle: "idle"
            case .unread: "unread"
            case .client: "client"
            case .full: "full"
            case .writeTimeout: "write_timeout"
            }
        }
    }

    /// A connection that has been idle for less time may be about to be used.
    private static let idleMin: TimeAmount = .milliseconds(100)
    private static let unreadMin: TimeAmount = .seconds(1)
    private static let longUnread: TimeAmount = .seconds(5)
    private static let logInterval: TimeAmount = .seconds(60)

    private struct State {
        /// Connections that are not restricted, by client. A client without any has no entry.
        var ordinary: [ClientAddress?: [ObjectIdentifier: Connection]] = [:]
        var ordinaryCount = 0
        var restricted: [ObjectIdentifier: Connection] = [:]
        var nextLog = NIODeadline.uptimeNanoseconds(0)
        var eventsUntilLog = 0
    }

    private let limits: ConnectionLimits
    private let logger: Logger
    private let isExempt: @Sendable (ClientAddress) -> Bool
    private let clock: @Sendable () -> NIODeadline
    private let closed: LabelledMetrics<Counter>
    private let state = Mutex(State())
    private let draining = Atomic<Bool>(false)

    /// - Parameter isExempt: whether an address has no share of its own, because it is a proxy with many clients.
    init(
        limits: ConnectionLimits, registry: MetricsRegistry, logger: Logger,
        isExempt: @escaping @Sendable (ClientAddress) -> Bool = { _ in false },
        clock: @escaping @Sendable () -> NIODeadline = { .now() }
    ) {
        self.limits = limits
        self.logger = logger
        self.isExempt = isExempt
        self.clock = clock
        closed = registry.counters(
            "godwit_accept_connections_closed_total",
            help: "Connections of clients that were closed early or restricted, by reason.",
            labels: [MetricLabel("reason", Pressure.allCases.map(\.label))]
        )
        registry.gauge("godwit_accept_connections", help: "Open connections of clients.") { [weak self] in
            Double(self?.count ?? 0)
        }
    }

    var count: Int { state.withLock { $0.ordinaryCount + $0.restricted.count } }

    var now: NIODeadline { clock() }

    /// Whether responses ask the client to close its connection, because this instance is about to stop.
    var isDraining: Bool { draining.load(ordering: .relaxed) }

    func drain() { draining.store(true, ordering: .relaxed) }

    /// Registers a new connection, and closes another one if there are too many. The caller must `remove` it.
    ///
    /// - Parameters:
    ///   - address: of the peer.
    ///   - close: closes the connection; called on any thread.
    /// - Returns: nil if the new connection must be closed.
    func admit(_ address: ClientAddress?, close: @escaping @Sendable () -> Void) -> Connection? {
        let now = clock()
        let client = address?.network
        let perClient = address.map(isExempt) == true ? Int.max : limits.perClient
        let (new, victim, pressure) = state.withLock { state -> (Connection?, Connection?, Pressure?) in
            var restriction: Pressure?
            var victim: (connection: Connection, reason: Pressure)?
            if let own = state.ordinary[client], own.count >= perClient {
                victim = Self.victim(in: [own], now: now)
                if victim == nil { restriction = .client }
            } else if state.ordinaryCount >= limits.max - limits.reserve {
                victim =
                    Self.victim(in: state.ordinary.values, now: now)
                    ?? Self.largestClient(in: state, comparedWith: client).flatMap {
                        Self.victim(in: [$0], now: now, atAnyAge: true)
                    }
                if victim == nil { restriction = .full }
            }
            if let restriction, state.restricted.count >= limits.reserve {
                guard let oldest = Self.oldestUnused(in: state) else { return (nil, nil, restriction) }
                victim = (oldest, restriction)
            }
            if let victim { Self.remove(victim.connection, from: &state) }
            let new = Connection(client: client, restriction: restriction, now: now, close: close)
            Self.insert(new, into: &state)
            return (new, victim?.connection, restriction ?? victim?.reason)
        }
        if let pressure { report(pressure, now: now) }
        victim?.close()
        return new
    }

    func remove(_ connection: Connection) {
        state.withLock { Self.remove(connection, from: &$0) }
    }

    /// Counts and logs a connection that is closed early.
    func report(_ pressure: Pressure, now: NIODeadline) {
        closed[pressure.rawValue].increment()
        let line = state.withLock { state -> (open: Int, events: Int)? in
            state.eventsUntilLog += 1
            guard now >= state.nextLog else { return nil }
            defer { state.eventsUntilLog = 0 }
            state.nextLog = now + Self.logInterval
            return (state.ordinaryCount + state.restricted.count, state.eventsUntilLog)
        }
        guard let line else { return }
        logger.warning(
            "connections of clients are closed early",
            metadata: [
                "connections.open": .stringConvertible(line.open),
                "connections.closed": .stringConvertible(line.events), "close.reason": "\(pressure.label)",
            ]
        )
    }

    // MARK: The choice

    private static func victim(
        in clients: some Sequence<[ObjectIdentifier: Connection]>, now: NIODeadline, atAnyAge: Bool = false
    ) -> (connection: Connection, reason: Pressure)? {
        var idle: (connection: Connection, since: NIODeadline)?
        var unread: (connection: Connection, since: NIODeadline)?
        for connections in clients {
            for connection in connections.values {
                if let since = connection.idleSince, since < idle?.since ?? .distantFuture {
                    idle = (connection, since)
                }
                if let since = connection.unreadSince, since < unread?.since ?? .distantFuture {
                    unread = (connection, since)
                }
            }
        }
        if let unread, unread.since + longUnread <= now { return (unread.connection, .unread) }
        if let idle, atAnyAge || idle.since + idleMin <= now { return (idle.connection, .idle) }
        if let unread, atAnyAge || unread.since + unreadMin <= now { return (unread.connection, .unread) }
        return nil
    }

    /// The connections of the client with most of them, if it has more than twice as many as `client` with one more.
    private static func largestClient(
        in state: State, comparedWith client: ClientAddress?
    ) -> [ObjectIdentifier: Connection]? {
        let own = (state.ordinary[client]?.count ?? 0) + 1
        return state.ordinary.values.max { $0.count < $1.count }.flatMap { $0.count > 2 * own ? $0 : nil }
    }

    /// The oldest restricted connection that has no request.
    private static func oldestUnused(in state: State) -> Connection? {
        state.restricted.values.compactMap { connection in connection.idleSince.map { (connection, $0) } }
            .min { $0.1 < $1.1 }?.0
    }

    private static func insert(_ connection: Connection, into state: inout State) {
        if connection.restriction == nil {
            state.ordinary[connection.client, default: [:]][ObjectIdentifier(connection)] = connection
            state.ordinaryCount += 1
        } else {
            state.restricted[ObjectIdentifier(connection)] = connection
        }
    }

    private static func remove(_ connection: Connection, from state: inout State) {
        let id = ObjectIdentifier(connection)
        guard connection.restriction == nil else {
            state.restricted[id] = nil
            return
        }
        guard state.ordinary[connection.client]?.removeValue(forKey: id) != nil else { return }
        state.ordinaryCount -= 1
        if state.ordinary[connection.client]?.isEmpty == true { state.ordinary[connection.client] = nil }
    }
}

/// One open connection, as far as the choice of `ConnectionRegistry` needs it. Its channel writes, any thread reads.
final class Connection: Sendable {
    /// The network of the peer; nil: it has no IP address.
    let client: ClientAddress?
    /// Why only health checks, metrics and control requests are served; nil: everything is.
    let restriction: ConnectionRegistry.Pressure?
    let close: @Sendable () -> Void
    private let idle: Atomic<UInt64>
    private let unread = Atomic<UInt64>(0)

    fileprivate init(
        client: ClientAddress?, restriction: ConnectionRegistry.Pressure?, now: NIODeadline,
        close: @escaping @Sendable () -> Void
    ) {
        self.client = client
        self.restriction = restriction
        self.close = close
        idle = Atomic(now.uptimeNanoseconds)
    }

    /// Since when no request is open; nil while one is.
    var idleSince: NIODeadline? {
        get { Self.deadline(idle) }
        set { Self.store(newValue, in: idle) }
    }

    /// Since when the client reads nothing although a response waits; nil while it reads.
    var unreadSince: NIODeadline? {
        get { Self.deadline(unread) }
        set { Self.store(newValue, in: unread) }
    }

    private static func deadline(_ value: borrowing Atomic<UInt64>) -> NIODeadline? {
        let nanoseconds = value.load(ordering: .relaxed)
        return nanoseconds == 0 ? nil : .uptimeNanoseconds(nanoseconds)
    }

    private static func store(_ deadline: NIODeadline?, in value: borrowing Atomic<UInt64>) {
        value.store(deadline?.uptimeNanoseconds ?? 0, ordering: .relaxed)
    }
}
