import APNSWire
import NIOCore
import NIOSSL

/// A client's connections: makes them, waits between failed tries, replaces those that are lost or too old.
///
/// How many there should be is `PoolPolicy`'s to say; when one may be made, `ReconnectPolicy`'s and `ConnectRate`'s.
/// Used on the client's event loop only.
final class ConnectionPool {
    private unowned let core: APNSClientEngine
    private var dialer: Dialer
    private var policy: PoolPolicy
    private var reconnect = ReconnectPolicy()
    private var rate: ConnectRate
    private var isWaiting = false
    /// The wait after a failure is over; what is left is the rate.
    private var hasBackedOff = false
    private var connectionsEver: UInt64 = 0
    /// Who is offered pushes first, next time.
    private var turn = 0

    /// Those that take pushes.
    private(set) var ready: [APNSConnection] = []
    private var connecting: [APNSConnection] = []
    /// Those that take no new streams, on their way out. Bounded: each ends within the drain timeout or with the deadlines
    /// of its pushes, and new ones come no faster than `ConnectRate` allows.
    private var draining: [APNSConnection] = []

    init(core: APNSClientEngine, dialer: Dialer, connectionsMax: Int) {
        self.core = core
        self.dialer = dialer
        policy = PoolPolicy(max: connectionsMax)
        rate = ConnectRate(burst: connectionsMax + 4)
    }

    /// Every connection there is.
    var all: [APNSConnection] { connecting + ready + draining }

    /// Whether there is something to watch although no push is under way.
    var needsIdlePolicy: Bool { !ready.isEmpty || !connecting.isEmpty || !draining.isEmpty }

    var streamsOpen: Int {
        draining.reduce(0) { $0 + $1.streams.openCount } + ready.reduce(0) { $0 + $1.streams.openCount }
    }

    var streamsMax: Int { ready.reduce(0) { $0 + $1.streamsMax } }

    var label: APNSClientSnapshot.State {
        if !ready.isEmpty { return .ready }
        if !connecting.isEmpty { return .connecting }
        return isWaiting ? .waiting : .idle
    }

    // MARK: Pushes out

    /// Offers what waits to the connections: to each its share, beginning with another one each time, so that work
    /// spreads evenly, and again until all is taken or nobody takes more.
    func pump() {
        guard ready.count > 1 else {
            ready.first?.pump()
            return
        }
        // A fixed list: a connection that is lost on the way says so to this pool.
        let connections = ready
        turn = turn + 1 < connections.count ? turn + 1 : 0
        var hasTaken = true
        while hasTaken, core.wantsConnection {
            hasTaken = false
            let share = max(Self.shareMin, core.waiting.count / connections.count + 1)
            for offset in 0..<connections.count where core.wantsConnection {
                let connection = connections[(turn + offset) % connections.count]
                if connection.pump(max: share) > 0 { hasTaken = true }
            }
        }
    }

    /// Fewer pushes than this are not worth a TLS record of their own.
    private static let shareMin = 32

    // MARK: How many

    /// Has enough connections to send to, at once or as soon as the policies allow.
    func connectIfNeeded() {
        guard !isWaiting, core.wantsConnection || isReplacing else { return }
        let usable = ready.count { !$0.isOverdue && !$0.isProbing }
        // Few at a time: half as many as there are. After a failure one has to show that it can be done.
        let together = reconnect.failures > 0 ? 1 : max(1, usable / 2)
        while !isWaiting, usable + connecting.count < policy.target, connecting.count < together {
            let delay = hasBackedOff ? .zero : TimeAmount(reconnect.delay(random: .random(in: 0..<1)))
            hasBackedOff = true
            if delay > .zero {
                wait(delay)
            } else if let delay = rate.take(now: core.eventLoop.now) {
                wait(delay)
            } else {
                hasBackedOff = false
                connect()
            }
        }
    }

    /// Whether a connection that is too old does its work until its successor is there.
    private var isReplacing: Bool { ready.contains { $0.isOverdue && $0.streams.openCount > 0 } }

    private func wait(_ delay: TimeAmount) {
        isWaiting = true
        core.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, self.isWaiting else { return }
            self.isWaiting = false
            self.connectIfNeeded()
        }
    }

    /// Looks after the number of connections and their age.
    func look(_ load: PoolPolicy.Load) {
        let target = policy.target
        policy.look(load)
        if policy.target != target { core.tell(.resized(connections: policy.target), of: 0) }
        drainOverdue()
        drainSurplus()
    }

    /// An overdue connection goes when enough others are there, or when it has nothing to do.
    private func drainOverdue() {
        for connection in ready where connection.isOverdue {
            let fresh = ready.count { !$0.isOverdue }
            if fresh >= policy.target || connection.streams.openCount == 0 && !core.wantsConnection {
                connection.retire(.age)
            }
        }
    }

    private func drainSurplus() {
        while ready.count > policy.target, let idlest = ready.min(by: { $0.streams.openCount < $1.streams.openCount }) {
            guard !ready.contains(where: \.isOverdue) else { return }
            idlest.retire(.surplus)
        }
    }

    // MARK: Making one

    private func connect() {
        connectionsEver += 1
        let connection = APNSConnection(core: core, id: connectionsEver, authority: core.authority, limits: core.limits)
        connecting.append(connection)
        core.tell(.connecting, of: connection.id)
        dialer.dial(
            connection, isWanted: { [weak connection] in connection?.state == .connecting },
            failed: { [weak connection] in connection?.finish(ConnectErrorMapping.classify($0, isReady: false)) }
        )
        // Covers what the dialer's own time-outs do not: the TLS handshake and the server's SETTINGS.
        core.eventLoop.assumeIsolated().scheduleTask(in: dialer.timeout) { [weak connection] in
            guard let connection, connection.state == .connecting else { return }
            connection.finish(.connectTimeout)
        }
    }

    /// From now on connections are made with `tls`; those that are there take no new pushes.
    func replaceCredential(tls: NIOSSLContext) {
        dialer = Dialer(
            eventLoop: dialer.eventLoop, endpoint: dialer.endpoint, proxy: dialer.proxy, tls: tls,
            timeout: dialer.timeout
        )
        for connection in connecting { connection.finish(.credential) }
        for connection in ready { connection.retire(.credentialReplaced) }
        // The old credential may have been what kept us out.
        reconnect = ReconnectPolicy()
        isWaiting = false
        hasBackedOff = false
    }

    // MARK: What became of a connection

    func becameReady(_ connection: APNSConnection) {
        connecting.removeAll { $0 === connection }
        ready.append(connection)
        drainOverdue()
    }

    /// A connection has answered a push.
    func provedUseful() { reconnect.succeeded() }

    /// APNs ended a connection because of the credential.
    func credentialRefused() { reconnect.needsOperator = true }

    func retired(_ connection: APNSConnection) {
        guard let place = ready.firstIndex(where: { $0 === connection }) else { return }
        draining.append(ready.remove(at: place))
        if !connection.wasOfUse { reconnect.failed() }
        if connection.answered >= ConnectRate.usefulAnswers { rate.giveBack() }
    }

    /// A connection is gone, or could not be made.
    ///
    /// - Returns: whether it is a loss: one that took pushes, or was to.
    func ended(_ connection: APNSConnection, _ failure: APNSAnswer.Failure) -> Bool {
        if failure == .tls { reconnect.needsOperator = true }
        if let place = draining.firstIndex(where: { $0 === connection }) {
            draining.remove(at: place)
            return false
        }
        if let place = ready.firstIndex(where: { $0 === connection }) {
            ready.remove(at: place)
        } else if let place = connecting.firstIndex(where: { $0 === connection }) {
            connecting.remove(at: place)
        } else {
            return false
        }
        if !connection.wasOfUse { reconnect.failed() }
        if ready.isEmpty { policy.lostAll() }
        return true
    }
}
