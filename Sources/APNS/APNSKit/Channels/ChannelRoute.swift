import APNSWire
import Logging
import NIOCore

/// The requests to one host: a queue, and the connection that sends them.
///
/// Used on the client's event loop only. A connection is opened when a request needs it, kept while it is used, and
/// replaced when it is lost. Draining connections stay alongside until they are done.
final class ChannelRoute {
    struct Limits {
        var idle: IdleConnectionPolicy.Limits
        var drainTimeout: TimeAmount
    }

    let authority: String
    let limits: Limits
    private let dialer: Dialer
    private let credential: APNSCredential
    private let logger: Logger
    private var queue: [ChannelCall] = []
    private var current: ChannelConnection?
    private var draining: [ChannelConnection] = []
    private var reconnect = ReconnectPolicy()
    private var failedAt = NIODeadline.distantPast
    private var isWaitingToConnect = false
    private var isClosed = false
    /// The failure reported for requests that time out while there is no connection.
    private var connectFailure = (failure: APNSAnswer.Failure.none, reason: APNSReason.none)

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

    func send(_ call: ChannelCall) {
        queue.append(call)
        pump()
    }

    /// Ends a call whose deadline has passed.
    func expire(_ call: ChannelCall) {
        let disposition = abandon(call)
        if disposition != .ambiguous, let answer = call.lastNotProcessed { return end(call, .failed(answer)) }
        if call.connection == nil, connectFailure.failure != .none {
            let answer = APNSAnswer(
                disposition: disposition, reason: connectFailure.reason, failure: connectFailure.failure)
            return end(call, .failed(answer))
        }
        end(call, .failed(.failed(.deadlineExceeded, disposition)))
    }

    /// Ends a call whose task was cancelled.
    func cancel(_ call: ChannelCall) { end(call, .failed(.failed(.cancelled, abandon(call)))) }

    /// - Returns: how far the request got.
    private func abandon(_ call: ChannelCall) -> APNSAnswer.Disposition {
        queue.removeAll { $0 === call }
        return call.connection?.abandon(call) ?? .neverWritten
    }

    func end(_ call: ChannelCall, _ resolution: ChannelCall.Resolution) { call.end(resolution) }

    /// Sends queued calls as far as the connection allows; opens one if there is none.
    func pump() {
        guard !queue.isEmpty, !isClosed else { return }
        guard let current else { return connectIfWanted() }
        while !queue.isEmpty, self.current === current, current.prepareToSend() {
            do throws(ProviderTokenError) {
                let token = try credential.tokenSource?.current()
                current.send(queue.removeFirst(), token)
            } catch {
                let stranded = queue
                queue = []
                for call in stranded { end(call, .failed(.failed(.credential, .neverWritten))) }
            }
        }
    }

    // MARK: Responses

    func answered(_ call: ChannelCall, _ response: ChannelResponse, by connection: ChannelConnection) {
        if connection.isProven { reconnect.succeeded() }
        guard case .refused(let refusal) = response.disposition else { return end(call, .answered(response)) }
        let hasNewToken = handle(refusal.reason, by: connection)
        perform(call.machine.rejected(refusal.reason, hasNewToken: hasNewToken), call, connection, .answered(response))
    }

    /// The server has certainly not processed the call.
    func notProcessed(_ call: ChannelCall, _ answer: APNSAnswer, by connection: ChannelConnection) {
        call.lastNotProcessed = answer
        perform(call.machine.notProcessed(), call, connection, .failed(answer))
    }

    private func perform(
        _ action: ChannelCallStateMachine.Action, _ call: ChannelCall, _ connection: ChannelConnection,
        _ resolution: ChannelCall.Resolution
    ) {
        guard !isClosed else { return end(call, resolution) }
        switch action {
        case .finish: return end(call, resolution)
        case .sendAgain: break
        case .sendAgainOnNewConnection: connection.drain()
        }
        call.connection = nil
        queue.insert(call, at: 0)
        pump()
    }

    /// Applies a reason to the connection and to the credential.
    ///
    /// - Returns: whether a new provider token is available.
    private func handle(_ reason: APNSReason, by connection: ChannelConnection) -> Bool {
        switch reason {
        case .expiredProviderToken:
            guard let source = credential.tokenSource, let token = connection.token else { return false }
            // If the key can no longer sign, the next request reports it.
            let isNew = (try? source.renew(insteadOf: token)) ?? false
            if isNew { connection.drain() }
            return isNew
        case .tooManyProviderTokenUpdates: credential.tokenSource?.freeze()
        case .shutdown, .idleTimeout: connection.drain()
        default: break
        }
        return false
    }

    // MARK: Connections

    private func connectIfWanted() {
        guard current == nil, !isWaitingToConnect, !queue.isEmpty, !isClosed else { return }
        let delay = TimeAmount(reconnect.delay(random: .random(in: 0..<1)))
        guard delay > .zero else { return connect() }
        isWaitingToConnect = true
        eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self else { return }
            self.isWaitingToConnect = false
            if self.current == nil, !self.queue.isEmpty, !self.isClosed { self.connect() }
        }
    }

    private func connect() {
        let connection = ChannelConnection(route: self)
        current = connection
        dialer.dial(
            connection, since: failedAt, isWanted: { [weak connection] in connection?.state == .connecting },
            failed: { [weak connection] in connection?.close($0.failure) }
        )
        // Covers what the dialer's own timeouts do not: the TLS handshake and the server's SETTINGS.
        eventLoop.assumeIsolated().scheduleTask(in: dialer.timeout) { [weak connection] in
            if let connection, connection.state == .connecting { connection.close(.connectTimeout) }
        }
    }

    func connectionReady(_ connection: ChannelConnection) {
        logger.debug("connected to APNs for channels", metadata: ["apns.host": "\(authority)"])
        connectFailure = (.none, .none)
        pump()
    }

    func goAwayReceived(_ reason: APNSReason, by connection: ChannelConnection) {
        logger.debug("APNs ends a connection for channels", metadata: ["apns.reason": "\(reason)"])
        // Renews a token that is rejected by GOAWAY; the requests in flight on the connection are sent again.
        _ = handle(reason, by: connection)
    }

    /// A connection takes no more requests.
    func connectionDraining(_ connection: ChannelConnection) {
        guard current === connection else { return }
        current = nil
        draining.append(connection)
        if !connection.isProven { reconnect.failed() }
        // Without this, queued calls would wait for the next event, and an idle connection would stay open.
        eventLoop.assumeIsolated().execute { [weak self, weak connection] in
            connection?.closeIfDone()
            self?.pump()
        }
    }

    /// A connection closed, or could not be opened.
    func connectionClosed(_ connection: ChannelConnection, _ failure: APNSAnswer.Failure, _ reason: APNSReason) {
        draining.removeAll { $0 === connection }
        guard current === connection else { return }
        logger.debug("connection for channels closed", metadata: ["apns.failure": "\(failure)"])
        current = nil
        connectFailure = (failure, reason)
        failedAt = now
        if !connection.isProven { reconnect.failed() }
        eventLoop.assumeIsolated().execute { [weak self] in self?.pump() }
    }

    /// Ends every call and closes every connection.
    func close() {
        isClosed = true
        let stranded = queue
        queue = []
        for call in stranded { end(call, .failed(call.lastNotProcessed ?? .failed(.clientClosed, .neverWritten))) }
        for connection in draining + [current].compactMap({ $0 }) { connection.close(.clientClosed) }
    }
}
