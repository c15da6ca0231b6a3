public import APNSWire
public import NIOCore
import NIOSSL
import Synchronization

/// Creates, reads, lists and deletes broadcast channels, and publishes to them.
///
/// Channels carry updates of Live Activities to everybody who follows something, such as a match. This client is for their
/// low volume: one HTTP/2 connection to each of two hosts, made when it is needed and closed when it is not.
///
/// What it promises about each request:
/// - it ends by its deadline at the latest;
/// - what a server has certainly not processed (never written, refused, above GOAWAY's last id, an expired provider token)
///   is sent again by itself, up to five times;
/// - nothing else is ever sent twice: a repeated `create` would make a second channel. See `APNSChannelError.Code.ambiguous`.
///
/// The event loop group must outlive the client; call `shutdown` before either goes away.
public final class APNSChannelClient: Sendable {
    private let eventLoop: any EventLoop
    private let core: NIOLoopBoundBox<ChannelClientEngine>
    private let isShutDown = Atomic(false)

    /// - Throws: all problems of `configuration` at once. Nothing is connected yet.
    public init(
        configuration: APNSChannelClientConfiguration, eventLoopGroup: any EventLoopGroup
    ) throws(APNSConfigurationError) {
        let problems = configuration.problems()
        guard problems.isEmpty else { throw APNSConfigurationError(problems: problems) }
        let tls: NIOSSLContext
        do {
            tls = try configuration.connection(to: configuration.pushEndpoint)
                .makeTLSContext(configuration.credential)
        } catch {
            throw APNSConfigurationError(problems: ["the APNs trust roots cannot be used"])
        }
        let eventLoop = eventLoopGroup.next()
        self.eventLoop = eventLoop
        core = .makeBoxSendingValue(
            ChannelClientEngine(configuration, tls: tls, eventLoop: eventLoop), eventLoop: eventLoop)
    }

    deinit {
        // Forgotten without `shutdown`: closes at once, so that no connection is left behind.
        guard !isShutDown.load(ordering: .relaxed) else { return }
        eventLoop.execute { [core] in core.value.close(grace: .zero, promise: nil) }
    }

    /// Creates a channel.
    ///
    /// - Parameters:
    ///   - bundleID: of the app, without the suffix of a topic.
    ///   - policy: what the channel keeps for devices that are offline; cannot be changed afterwards.
    ///   - deadline: how long it may take, resends included; at most one day, as with every method here.
    /// - Returns: the channel's id. Keep it: APNs tells it in this answer and in a list without names, nowhere else.
    /// - Throws: after `ambiguous` there may be a channel more, which only `list` shows.
    public func create(
        bundleID: String, policy: ChannelStoragePolicy, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> ChannelID {
        let request = try build(.create) { () throws(ChannelRequestError) in
            try .create(bundleID: bundleID, policy: policy)
        }
        let response = try await send(request, deadline: deadline)
        guard case .created(let channel) = response.outcome else { preconditionFailure("a creation creates") }
        return channel
    }

    /// How a channel was created.
    public func read(
        _ channel: ChannelID, bundleID: String, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> ChannelStoragePolicy {
        let request = try build(.read) { () throws(ChannelRequestError) in
            try .read(bundleID: bundleID, channel: channel)
        }
        let response = try await send(request, deadline: deadline)
        guard case .described(let policy) = response.outcome else { preconditionFailure("a reading describes") }
        return policy
    }

    /// All channels of an app, in APNs' order; up to 10,000.
    public func list(
        bundleID: String, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> [ChannelID] {
        let request = try build(.list) { () throws(ChannelRequestError) in try .list(bundleID: bundleID) }
        let response = try await send(request, deadline: deadline)
        guard case .listed(let channels, _) = response.outcome else { preconditionFailure("a list lists") }
        return channels
    }

    /// Deletes a channel for good; what it has stored may still be delivered.
    public func delete(
        _ channel: ChannelID, bundleID: String, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) {
        let request = try build(.delete) { () throws(ChannelRequestError) in
            try .delete(bundleID: bundleID, channel: channel)
        }
        _ = try await send(request, deadline: deadline)
    }

    /// Sends an update or the end of a Live Activity to all who follow a channel.
    ///
    /// - Parameters:
    ///   - payload: with `aps.liveActivity`; 5,120 bytes at most.
    ///   - expiration: UNIX seconds; 0 is one attempt, and all that a channel without storage takes.
    ///   - policy: of the channel, if it is known, to find a wrong expiration before APNs does.
    /// - Returns: once APNs has taken it; the answer has the ids that Apple's support asks for.
    @discardableResult
    public func publish(
        _ payload: APNSPayload, to channel: ChannelID, bundleID: String, expiration: Int64 = 0,
        priority: Priority = .immediate, policy: ChannelStoragePolicy? = nil, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> ChannelResponse {
        let request = try build(.publish) { () throws(ChannelRequestError) in
            let bytes: [UInt8]
            do throws(PayloadError) {
                bytes = try payload.encoded()
            } catch {
                throw .payloadNotFinite
            }
            return try .publish(
                bundleID: bundleID, channel: channel, payload: bytes, expiration: expiration, priority: priority,
                policy: policy
            )
        }
        return try await send(request, deadline: deadline)
    }

    /// Sends any request about a channel, such as a publication of raw JSON bytes.
    ///
    /// Cancelling the task does not call it back; the deadline bounds the wait.
    ///
    /// - Returns: a success of the kind that the request asks for.
    /// - Throws: everything else.
    public func send(
        _ request: ChannelRequest, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> ChannelResponse {
        let promise = eventLoop.makePromise(of: ChannelCall.Ending.self)
        let time = TimeAmount(min(max(deadline, .zero), .seconds(86_400)))
        eventLoop.execute { [core] in core.value.send(request, within: time, promise) }
        let ending: ChannelCall.Ending
        do {
            ending = try await promise.futureResult.get()
        } catch {
            // The promise is only ever succeeded; an event loop that was shut down too early fails it.
            ending = .failed(.failed(.clientClosed, .ambiguous))
        }
        switch ending {
        case .failed(let answer): throw APNSChannelError(answer, request.operation)
        case .answered(let response):
            if let error = APNSChannelError(response, request.operation) { throw error }
            return response
        }
    }

    /// Takes no new requests, waits up to `grace` for the answers to those it has, and closes.
    ///
    /// May be called more than once; each call returns when the client is closed.
    public func shutdown(grace: Duration = .seconds(10)) async {
        isShutDown.store(true, ordering: .relaxed)
        let promise = eventLoop.makePromise(of: Void.self)
        let grace = TimeAmount(min(max(grace, .zero), .seconds(86_400)))
        eventLoop.execute { [core] in core.value.close(grace: grace, promise: promise) }
        // The promise is only ever succeeded.
        try? await promise.futureResult.get()
    }

    private func build(
        _ operation: ChannelRequest.Operation, _ make: () throws(ChannelRequestError) -> ChannelRequest
    ) throws(APNSChannelError) -> ChannelRequest {
        do throws(ChannelRequestError) {
            return try make()
        } catch {
            throw APNSChannelError(error, operation)
        }
    }
}
