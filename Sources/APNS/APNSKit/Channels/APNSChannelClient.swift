public import APNSWire
public import NIOCore
import NIOSSL
import Synchronization

/// Creates, reads, lists and deletes broadcast channels, and publishes to them.
///
/// A channel carries updates of Live Activities to all its subscribers, for example of a match. This client is made for
/// the low volume of such requests: one HTTP/2 connection to each of two hosts, opened on demand and closed when
/// unused.
///
/// Promises for each request:
/// - it ends by its deadline at the latest;
/// - a request that a server has certainly not processed (never written, refused, above GOAWAY's last stream ID, an
///   expired provider token) is sent again automatically, up to five times;
/// - it ends immediately when its task is cancelled, with the failure `cancelled`. A request that is not written is then
///   never sent; after any other, the code is `ambiguous`;
/// - no other request is sent again: a repeated `create` could create a second channel. See
///   `APNSChannelError.Code.ambiguous`.
///
/// The event loop group must outlive the client; call `shutdown` before you release either.
public final class APNSChannelClient: Sendable {
    private let eventLoop: any EventLoop
    private let engine: NIOLoopBoundBox<ChannelClientEngine>
    private let isShutDown = Atomic(false)
    /// Numbers the calls.
    private let calls = Atomic<UInt64>(0)

    /// Does not connect.
    ///
    /// - Throws: an error with all problems of `configuration`.
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
            throw APNSConfigurationError(problems: ["the APNs trust roots cannot be used for TLS"])
        }
        let eventLoop = eventLoopGroup.next()
        self.eventLoop = eventLoop
        engine = .makeBoxSendingValue(
            ChannelClientEngine(configuration, tls: tls, eventLoop: eventLoop), eventLoop: eventLoop)
    }

    deinit {
        // Released without `shutdown`: closes immediately, so that no connection stays open.
        guard !isShutDown.load(ordering: .relaxed) else { return }
        eventLoop.execute { [engine] in engine.value.close(grace: .zero, promise: nil) }
    }

    /// Creates a channel.
    ///
    /// - Parameters:
    ///   - bundleID: the app's bundle ID, without a topic suffix.
    ///   - policy: what the channel stores for offline devices; cannot be changed later.
    ///   - deadline: the time limit including resends; at most one day. The same applies to all methods.
    /// - Returns: the channel's ID. Store it: APNs returns it only here, and in a list that contains no names.
    /// - Throws: after `ambiguous`, APNs may have created a channel that only `list` shows.
    public func create(
        bundleID: String, policy: ChannelStoragePolicy, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> ChannelID {
        let request = try build(.create) { () throws(ChannelRequestError) in
            try .create(bundleID: bundleID, policy: policy)
        }
        let response = try await send(request, deadline: deadline)
        guard case .created(let channel) = response.disposition else {
            preconditionFailure("a successful create returns a channel")
        }
        return channel
    }

    /// Returns the storage policy of a channel.
    public func read(
        _ channel: ChannelID, bundleID: String, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> ChannelStoragePolicy {
        let request = try build(.read) { () throws(ChannelRequestError) in
            try .read(bundleID: bundleID, channel: channel)
        }
        let response = try await send(request, deadline: deadline)
        guard case .described(let policy) = response.disposition else {
            preconditionFailure("a successful read returns a policy")
        }
        return policy
    }

    /// Lists all channels of an app, up to 10,000, in the order in which APNs returns them.
    public func list(
        bundleID: String, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> [ChannelID] {
        let request = try build(.list) { () throws(ChannelRequestError) in try .list(bundleID: bundleID) }
        let response = try await send(request, deadline: deadline)
        guard case .listed(let channels, _) = response.disposition else {
            preconditionFailure("a successful list returns channels")
        }
        return channels
    }

    /// Deletes a channel permanently; a message that it has stored may still be delivered.
    public func delete(
        _ channel: ChannelID, bundleID: String, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) {
        let request = try build(.delete) { () throws(ChannelRequestError) in
            try .delete(bundleID: bundleID, channel: channel)
        }
        _ = try await send(request, deadline: deadline)
    }

    /// Publishes an update or the end of a Live Activity to the subscribers of a channel.
    ///
    /// - Parameters:
    ///   - payload: with `aps.liveActivity`; at most 5,120 bytes.
    ///   - expiration: not `none`; a channel that stores nothing accepts only `immediate`.
    ///   - policy: the channel's policy, if known, to detect a wrong expiration before APNs does.
    /// - Returns: the answer of APNs, with the IDs that Apple's support asks for.
    @discardableResult
    public func publish(
        _ payload: APNSPayload, to channel: ChannelID, bundleID: String, expiration: Expiration = .immediate,
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

    /// Sends any request about a channel, for example to publish raw JSON bytes.
    ///
    /// - Returns: a response with the disposition that belongs to the request's operation.
    /// - Throws: in all other cases.
    public func send(
        _ request: ChannelRequest, deadline: Duration = .seconds(30)
    ) async throws(APNSChannelError) -> ChannelResponse {
        guard !Task.isCancelled else {
            throw APNSChannelError(.failed(.cancelled, .neverWritten), request.operation)
        }
        let promise = eventLoop.makePromise(of: ChannelCall.Resolution.self)
        let number = calls.add(1, ordering: .relaxed).newValue
        let time = TimeAmount(min(max(deadline, .zero), .seconds(86_400)))
        eventLoop.execute { [engine] in engine.value.send(request, number, within: time, promise) }
        let resolution: ChannelCall.Resolution
        do {
            // Entered after `execute`, so that the event loop gets the call before its cancellation.
            resolution = try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                eventLoop.execute { [engine] in engine.value.cancel(number) }
            }
        } catch {
            // Only an event loop that was shut down too early fails the promise.
            resolution = .failed(.failed(.clientClosed, .ambiguous))
        }
        switch resolution {
        case .failed(let answer): throw APNSChannelError(answer, request.operation)
        case .answered(let response):
            if let error = APNSChannelError(response, request.operation) { throw error }
            return response
        }
    }

    /// Takes no new requests, waits up to `grace` for the answers to those in flight, and closes.
    ///
    /// May be called repeatedly; each call returns when the client is closed, and the shortest grace applies. Cancelling
    /// the task ends the grace, also of other calls.
    public func shutdown(grace: Duration = .seconds(10)) async {
        isShutDown.store(true, ordering: .relaxed)
        let promise = eventLoop.makePromise(of: Void.self)
        let grace = TimeAmount(min(max(grace, .zero), .seconds(86_400)))
        eventLoop.execute { [engine] in engine.value.close(grace: grace, promise: promise) }
        await withTaskCancellationHandler {
            // The promise never fails.
            try? await promise.futureResult.get()
        } onCancel: {
            eventLoop.execute { [engine] in engine.value.close(grace: .zero, promise: nil) }
        }
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
