import APNSWire
import NIOCore
import NIOSSL

/// The connections of a client: opens them, waits between failed attempts, and replaces connections that are lost or
/// too old.
///
/// `PoolPolicy` decides how many connections there should be; `ReconnectPolicy` and `ConnectRate` decide when one may
/// be opened. Used on the client's event loop only.
final class ConnectionPool {
    /// Fewer pushes than this are not worth a TLS record of their own.
    private static let shareMin = 32
    /// Concurrent attempts to connect while no connection is known to work.
    private static let attemptsMax = 10
    /// Connections that APNs ended because of the credential before waiting pushes are reported.
    private static let refusalsMax = 2

    private unowned let engine: APNSClientEngine
    private var dialer: Dialer
    private let connectionsMax: Int
    private var policy: PoolPolicy
    private var reconnect = ReconnectPolicy()
    private var rate = ConnectRate()
    /// When a connection was last lost, or could not be opened.
    private var failedAt = NIODeadline.distantPast
    /// Consecutive connections that APNs ended because of the credential.
    private var credentialRefusals = 0
    /// Whether the last connection was left because it refused streams, and none has proven useful since.
    private var isCautious = false
    /// Whether the next attempt to connect is scheduled.
    private var isWaiting = false
    /// The delay after a failure has passed; only the rate may still delay the attempt.
    private var hasBackedOff = false
    private var connectionsEver: UInt64 = 0
    /// The index of the connection that was offered pushes first.
    private var firstOffered = 0

    /// The connections that take pushes.
    private(set) var ready: [APNSConnection] = []
    private var connecting: [APNSConnection] = []
    /// The connections that take no new pushes. Bounded: each ends within the drain timeout or with the timeouts of
    /// its pushes, and `ConnectRate` bounds how fast new ones are opened.
    private var draining: [APNSConnection] = []

    init(engine: APNSClientEngine, dialer: Dialer, connectionsMax: Int) {
        self.engine = engine
        self.dialer = dialer
        self.connectionsMax = connectionsMax
        policy = PoolPolicy(max: connectionsMax)
    }

    var all: [APNSConnection] { connecting + ready + draining }

    var hasConnections: Bool { !ready.isEmpty || !connecting.isEmpty || !draining.isEmpty }

    var streamsOpen: Int {
        draining.reduce(0) { $0 + $1.streams.openCount } + ready.reduce(0) { $0 + $1.streams.openCount }
    }

    var streamsMax: Int { ready.reduce(0) { $0 + $1.streamsMax } }

    var state: APNSClientSnapshot.State {
        if !ready.isEmpty { return .ready }
        if !connecting.isEmpty { return .connecting }
        return isWaiting ? .waiting : .idle
    }

    // MARK: Distributing pushes

    /// Offers the queued pushes to the connections, a share to each, until the queue is empty or no connection takes
    /// more. Each call begins with another connection, so that work spreads evenly.
    func pump() {
        guard ready.count > 1 else {
            ready.first?.pump()
            return
        }
        // A copy: a connection that closes meanwhile removes itself from `ready`.
        let connections = ready
        firstOffered = firstOffered + 1 < connections.count ? firstOffered + 1 : 0
        var hasTaken = true
        while hasTaken, engine.wantsConnection {
            hasTaken = false
            let share = max(Self.shareMin, engine.queue.count / connections.count + 1)
            for offset in 0..<connections.count where engine.wantsConnection {
                let connection = connections[(firstOffered + offset) % connections.count]
                if connection.pump(max: share) > 0 { hasTaken = true }
            }
        }
    }

    // MARK: Number and age

    /// Opens the connections that are missing, immediately or as soon as the policies allow.
    func connectIfNeeded() {
        guard !isWaiting, engine.wantsConnection || engine.wantsReconnect || isReplacing else { return }
        let now = engine.eventLoop.now
        let old = now - TimeAmount(reconnect.interval)
        // Without a connection, an attempt that hangs does not hold up the next one: after an outage in which packets
        // were dropped, TCP repeats them late. The same holds for a connection that takes no push because none of its
        // first ones is answered: APNs allows one stream until then.
        let stuck = ready.count { $0.isStuck(since: old) }
        let usable = usableCount - stuck
        let hanging = usable > 0 ? 0 : stuck + connecting.count { $0.createdAt <= old }
        // Half as many concurrently as there are. After a failure, one connection must first succeed.
        let concurrentMax = reconnect.failures > 0 ? 1 : max(1, usable / 2)
        while !isWaiting, usable + stuck + connecting.count - hanging < policy.target,
            stuck + connecting.count - hanging < concurrentMax, hanging < Self.attemptsMax,
            stuck == 0 || ready.count + connecting.count < connectionsMax
        {
            let hasDelay = !hasBackedOff && hanging == 0
            let delay = hasDelay ? TimeAmount(reconnect.delay(random: .random(in: 0..<1))) : .zero
            hasBackedOff = true
            if delay > .zero {
                wait(delay)
            } else if let delay = rate.acquire(useful: ready.count { $0.isUseful }, now: now) {
                engine.countDelayedConnect()
                wait(delay)
            } else {
                hasBackedOff = false
                connect()
            }
        }
    }

    /// Connections that take pushes, and will for some time.
    private var usableCount: Int { ready.count { !$0.isOverdue && !$0.isProbing } }

    /// Whether an overdue connection stays in use until its replacement is ready.
    private var isReplacing: Bool { ready.contains { $0.isOverdue && $0.streams.openCount > 0 } }

    private func wait(_ delay: TimeAmount) {
        isWaiting = true
        engine.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, self.isWaiting else { return }
            self.isWaiting = false
            self.connectIfNeeded()
        }
    }

    /// Adapts the target number of connections to the load, and drains connections that are overdue or too many.
    func update(_ load: PoolPolicy.Load) {
        let target = policy.target
        policy.update(load)
        if policy.target != target { engine.emit(.resized(connections: policy.target), of: 0) }
        drainOverdue()
        drainSurplus()
    }

    /// Drains an overdue connection when enough others are ready, or when it has nothing to do.
    private func drainOverdue() {
        for connection in ready where connection.isOverdue {
            let fresh = ready.count { !$0.isOverdue }
            if fresh >= policy.target || connection.streams.openCount == 0 && !engine.wantsConnection {
                connection.drain(.age)
            }
        }
    }

    private func drainSurplus() {
        let old = engine.eventLoop.now - TimeAmount(reconnect.interval)
        while true {
            // Those that are stuck are replaced when they have answered nothing for the stall timeout.
            let used = ready.filter { !$0.isStuck(since: old) }
            guard used.count > policy.target,
                let idlest = used.min(by: { $0.streams.openCount < $1.streams.openCount })
            else { return }
            guard !ready.contains(where: \.isOverdue) else { return }
            idlest.drain(.surplus)
        }
    }

    // MARK: Opening connections

    private func connect() {
        connectionsEver += 1
        let connection = APNSConnection(
            engine: engine, id: connectionsEver, authority: engine.authority, limits: engine.limits,
            isCautious: isCautious
        )
        connecting.append(connection)
        engine.emit(.connecting, of: connection.id)
        dialer.dial(
            connection, since: failedAt, isWanted: { [weak connection] in connection?.state == .connecting },
            failed: { [weak connection] in connection?.close($0) }
        )
        // Covers what the dialer's own timeouts do not: the TLS handshake and the server's SETTINGS.
        engine.eventLoop.assumeIsolated().scheduleTask(in: dialer.timeout) { [weak connection, dialer] in
            guard let connection, connection.state == .connecting else { return }
            connection.close(.timedOut(at: connection.connectStep, dialer))
        }
    }

    /// Opens connections with `tls` from now on; existing connections take no new pushes.
    func replaceCredential(tls: NIOSSLContext) {
        dialer = Dialer(
            eventLoop: dialer.eventLoop, endpoint: dialer.endpoint, proxy: dialer.proxy, tls: tls,
            timeout: dialer.timeout
        )
        for connection in connecting { connection.close(.credential) }
        for connection in ready { connection.drain(.credentialReplaced) }
        // The failures may have been caused by the old credential.
        reconnect = ReconnectPolicy()
        credentialRefusals = 0
        isWaiting = false
        hasBackedOff = false
    }

    // MARK: Connection events

    func connectionReady(_ connection: APNSConnection) {
        connecting.removeAll { $0 === connection }
        ready.append(connection)
        closeSurplusAttempts()
        drainOverdue()
    }

    /// Closes attempts that began while another one hung, and are not needed now.
    private func closeSurplusAttempts() {
        while let attempt = connecting.last, usableCount + connecting.count > policy.target {
            // First, so that its end is no failure.
            connecting.removeLast()
            attempt.close(.clientClosed)
        }
    }

    /// A connection has answered its first push.
    func connectionProven() {
        reconnect.succeeded()
        credentialRefusals = 0
    }

    /// A connection has had `ConnectRate.usefulAnswers` pushes accepted.
    func connectionUseful() {
        rate.provedUseful()
        isCautious = false
    }

    /// APNs ended a connection because of the credential.
    ///
    /// - Returns: whether it has ended several consecutively, so that the refusal is no accident of one server.
    func credentialRefused() -> Bool {
        reconnect.needsOperator = true
        credentialRefusals += 1
        return credentialRefusals >= Self.refusalsMax
    }

    /// A connection takes no new pushes.
    func connectionDraining(_ connection: APNSConnection, _ reason: APNSDrainReason) {
        if reason == .refusing { isCautious = true }
        guard let index = ready.firstIndex(where: { $0 === connection }) else { return }
        draining.append(ready.remove(at: index))
        guard !connection.isProven else { return }
        failedAt = engine.eventLoop.now
        reconnect.failed()
    }

    /// A connection closed, or could not be opened.
    ///
    /// - Returns: whether it took pushes, or was meant to; false for a draining connection.
    func connectionClosed(_ connection: APNSConnection, _ failure: APNSConnectionFailure) -> Bool {
        // TLS may fail for another reason: a load balancer in trouble ends connections before it answers.
        if failure.cause.needsOperator { reconnect.needsOperator = true }
        if let index = draining.firstIndex(where: { $0 === connection }) {
            draining.remove(at: index)
            return false
        }
        if let index = ready.firstIndex(where: { $0 === connection }) {
            ready.remove(at: index)
        } else if let index = connecting.firstIndex(where: { $0 === connection }) {
            connecting.remove(at: index)
        } else {
            return false
        }
        failedAt = engine.eventLoop.now
        if !connection.isProven { reconnect.failed() }
        if ready.isEmpty { policy.lostAll() }
        return true
    }
}
