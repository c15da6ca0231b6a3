import APNSWire
import Logging
import NIOCore

/// The way to one host: its waiting requests, and the one connection that takes them.
///
/// Used on the client's event loop only. The connection is made when a request needs it, kept while it is used, and
/// replaced when it is lost; those that take no more requests live on beside it until they are done.
final class ChannelRoute {
    struct Limits {
        var watch: IdleConnectionPolicy.Limits
        var drainTimeout: TimeAmount
    }

    let authority: String
    let limits: Limits
    private let dialer: Dialer
    private let credential: APNSCredential
    private let logger: Logger
    private var waiting: [ChannelCall] = []
    private var current: ChannelConnection?
    private var leaving: [ChannelConnection] = []
    private var reconnect = ReconnectPolicy()
    private var isWaitingToConnect = false
    private var isClosed = false
    /// Why there is no connection, for those who wait for one in vain.
    private var lack = (failure: APNSAnswer.Failure.none, reason: APNSReason.none)

    init(_ dialer: Dialer, _ credential: APNSCredential, _ limits: Limits, _ logger: Logger) {
        let endpoint = dialer.endpoint
        authority = endpoint.port == 443 ? endpoint.host : "\(endpoint.host):\(endpoint.port)"
        self.dialer = dialer
        self.credential = credential
        self.limits = limits
        self.logger = logger
    }

    var eventLoop: any EventLoop { dialer.eventLoop }
    var now: NIODeadline { dialer.eventLoop.now }

    // MARK: Calls

    func take(_ call: ChannelCall) {
        waiting.append(call)
        pump()
    }

    /// The call's time is over.
    func expire(_ call: ChannelCall) {
        waiting.removeAll { $0 === call }
        let outcome = call.connection?.abandon(call) ?? .neverWritten
        if outcome != .ambiguous, let answer = call.turnedAway { return end(call, .failed(answer)) }
        if call.connection == nil, lack.failure != .none {
            return end(
                call, .failed(APNSAnswer(outcome: outcome, reason: lack.reason, failure: lack.failure)))
        }
        end(call, .failed(.failed(.deadlineExceeded, outcome)))
    }

    func end(_ call: ChannelCall, _ ending: ChannelCall.Ending) { call.end(ending) }

    /// Sends what waits, as far as it goes; without a connection one is made.
    func pump() {
        guard !waiting.isEmpty, !isClosed else { return }
        guard let current else { return connectIfWanted() }
        while !waiting.isEmpty, self.current === current, current.isFree() {
            do throws(ProviderTokenError) {
                let token = try credential.tokenSource?.current()
                current.send(waiting.removeFirst(), token)
            } catch {
                let stranded = waiting
                waiting = []
                for call in stranded { end(call, .failed(.failed(.credential, .neverWritten))) }
            }
        }
    }

    // MARK: Answers

    func answered(_ call: ChannelCall, _ response: ChannelResponse, by connection: ChannelConnection) {
        if connection.wasOfUse { reconnect.succeeded() }
        guard case .refused(let refusal) = response.outcome else { return end(call, .answered(response)) }
        let hasNewToken = look(at: refusal.reason, by: connection)
        perform(call.machine.answered(refusal.reason, hasNewToken: hasNewToken), call, connection, .answered(response))
    }

    /// The server has certainly not processed it.
    func turnedAway(_ call: ChannelCall, _ answer: APNSAnswer, by connection: ChannelConnection) {
        call.turnedAway = answer
        perform(call.machine.turnedAway(), call, connection, .failed(answer))
    }

    private func perform(
        _ action: ChannelCallStateMachine.Action, _ call: ChannelCall, _ connection: ChannelConnection,
        _ ending: ChannelCall.Ending
    ) {
        guard !isClosed else { return end(call, ending) }
        switch action {
        case .finish: return end(call, ending)
        case .sendAgain: break
        case .sendAgainOnNewConnection: connection.retire()
        }
        call.connection = nil
        waiting.insert(call, at: 0)
        pump()
    }

    /// What a reason means for the connection and for the credential.
    ///
    /// - Returns: whether there is a new provider token.
    private func look(at reason: APNSReason, by connection: ChannelConnection) -> Bool {
        switch reason {
        case .expiredProviderToken:
            guard let source = credential.tokenSource, let token = connection.token else { return false }
            // A key that signs no longer ends the next request, not this one.
            let isNew = (try? source.renew(insteadOf: token)) ?? false
            if isNew { connection.retire() }
            return isNew
        case .tooManyProviderTokenUpdates: credential.tokenSource?.freeze()
        case .shutdown, .idleTimeout: connection.retire()
        default: break
        }
        return false
    }

    // MARK: The connection

    private func connectIfWanted() {
        guard current == nil, !isWaitingToConnect, !waiting.isEmpty, !isClosed else { return }
        let delay = TimeAmount(reconnect.delay(random: .random(in: 0..<1)))
        guard delay > .zero else { return connect() }
        isWaitingToConnect = true
        eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self else { return }
            self.isWaitingToConnect = false
            if self.current == nil, !self.waiting.isEmpty, !self.isClosed { self.connect() }
        }
    }

    private func connect() {
        let connection = ChannelConnection(route: self)
        current = connection
        dialer.dial(
            connection, isWanted: { [weak connection] in connection?.state == .connecting },
            failed: { [weak connection] in connection?.finish(ConnectErrorMapping.classify($0, isReady: false)) }
        )
        // Covers what the dialer's own time-outs do not: the TLS handshake and the server's SETTINGS.
        eventLoop.assumeIsolated().scheduleTask(in: dialer.timeout) { [weak connection] in
            if let connection, connection.state == .connecting { connection.finish(.connectTimeout) }
        }
    }

    func becameReady(_ connection: ChannelConnection) {
        logger.debug("connected to APNs for channels", metadata: ["apns.host": "\(authority)"])
        lack = (.none, .none)
        pump()
    }

    func goAwayReceived(_ reason: APNSReason, by connection: ChannelConnection) {
        logger.debug("APNs ends a connection for channels", metadata: ["apns.reason": "\(reason)"])
        // A token that was refused this way is replaced here; what was in flight on the connection goes again.
        _ = look(at: reason, by: connection)
    }

    /// A connection takes no more requests.
    func retired(_ connection: ChannelConnection) {
        guard current === connection else { return }
        current = nil
        leaving.append(connection)
        if !connection.wasOfUse { reconnect.failed() }
        // What still waits here would otherwise wait for the next event; and an idle connection can go at once.
        eventLoop.assumeIsolated().execute { [weak self, weak connection] in
            connection?.closeIfDone()
            self?.pump()
        }
    }

    /// A connection is gone, or could not be made.
    func closed(_ connection: ChannelConnection, _ failure: APNSAnswer.Failure, _ reason: APNSReason) {
        leaving.removeAll { $0 === connection }
        guard current === connection else { return }
        logger.debug("connection for channels closed", metadata: ["apns.failure": "\(failure)"])
        current = nil
        lack = (failure, reason)
        if !connection.wasOfUse { reconnect.failed() }
        eventLoop.assumeIsolated().execute { [weak self] in self?.pump() }
    }

    /// Ends every call and closes every connection.
    func close() {
        isClosed = true
        let stranded = waiting
        waiting = []
        for call in stranded { end(call, .failed(call.turnedAway ?? .failed(.clientClosed, .neverWritten))) }
        for connection in leaving + [current].compactMap({ $0 }) { connection.finish(.clientClosed) }
    }
}
