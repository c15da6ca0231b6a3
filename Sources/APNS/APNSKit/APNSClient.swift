public import APNSWire
public import NIOCore
import NIOSSL
import Synchronization

/// Sends pushes to APNs over a pool of long-lived HTTP/2 connections, thousands at a time.
///
/// Made for batches: a batch is passed to the client's event loop once, its answers are delivered in a few groups, and
/// no task, promise or channel is created per push. The client connects when it gets the first push, opens more
/// connections while they increase throughput, and replaces lost ones. Pushes wait for a connection until their timeout
/// (`APNSSendTimeouts.wait`).
///
/// A client has one credential and one environment: APNs binds each connection to a team by its first push.
///
/// Promises for each push:
/// - it is reported exactly once, at most 50 ms after its timeout;
/// - `neverWritten` and `refused` mean that APNs has certainly not processed it, `ambiguous` that it may have;
/// - a push that a server did not process (a refused stream, a stream above GOAWAY's last ID, an expired provider token
///   that could be renewed, a server that shuts down) is sent again immediately on another connection, up to five
///   times, and is then reported as `refused`;
/// - no other push is sent again, and none is sent after its expiration.
///
/// The event loop group must outlive the client; call `shutdown` before you release either.
public final class APNSClient: APNSSender, Sendable {
    private let eventLoop: any EventLoop
    private let engine: NIOLoopBoundBox<APNSClientEngine>
    private let shared: ClientShared
    private let configuration: APNSClientConfiguration

    /// Does not connect.
    ///
    /// - Throws: an error with all problems of `configuration`.
    public init(
        configuration: APNSClientConfiguration, eventLoopGroup: any EventLoopGroup
    ) throws(APNSConfigurationError) {
        let problems = configuration.problems()
        guard problems.isEmpty else { throw APNSConfigurationError(problems: problems) }
        let tls: NIOSSLContext
        do {
            tls = try configuration.makeTLSContext(configuration.credential)
        } catch {
            throw APNSConfigurationError(problems: ["the APNs trust roots cannot be used for TLS"])
        }
        let eventLoop = eventLoopGroup.next()
        let shared = ClientShared(queuedMax: configuration.queuedPushesMax)
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.shared = shared
        engine = .makeBoxSendingValue(
            APNSClientEngine(eventLoop: eventLoop, configuration: configuration, tls: tls, shared: shared),
            eventLoop: eventLoop
        )
    }

    deinit {
        // Released without `shutdown`: closes immediately, so that no connection stays open.
        guard !shared.isClosed else { return }
        eventLoop.execute { [engine] in engine.value.close(grace: .zero, promise: nil) }
    }

    /// Sends the pushes of `batch`; see `APNSSender`.
    ///
    /// - Parameters:
    ///   - indexes: the pushes to send, each at most once; nil sends all.
    ///   - timeouts: at most one day each.
    /// - Precondition: each index is less than the count of the batch.
    public func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, timeouts: APNSSendTimeouts,
        to receiver: any APNSAnswerReceiver
    ) {
        if let indexes {
            precondition(indexes.allSatisfy { Int($0) < batch.count }, "an index is outside of the batch")
        }
        let isAdmitted = shared.admit(indexes?.count ?? batch.count)
        let waitUntil = eventLoop.now + Self.timeAmount(timeouts.wait)
        let answerTimeout = Self.timeAmount(timeouts.answer)
        eventLoop.execute { [engine] in
            engine.value.send(
                batch, indexes: indexes, ticket: ticket, waitUntil: waitUntil, answerTimeout: answerTimeout,
                to: receiver, isAdmitted: isAdmitted
            )
        }
    }

    /// Ends the wait of a collector that was passed to `send`.
    func cancel(_ collector: AnswerCollector) {
        eventLoop.execute { [engine] in engine.value.cancel(collector) }
    }

    /// At most one day.
    private static func timeAmount(_ duration: Duration) -> TimeAmount {
        TimeAmount(min(max(duration, .zero), .seconds(86_400)))
    }

    /// The client's state and counters.
    public func snapshot() -> APNSClientSnapshot { shared.snapshot }

    /// The state of each connection, including connections that are connecting or draining. Does not wait for the
    /// network, so cancelling the task has no effect.
    public func connections() async -> [APNSConnectionSnapshot] {
        // Fails only if the event loop was shut down.
        let snapshots = eventLoop.submit { [engine] in engine.value.connectionSnapshots() }
        return (try? await snapshots.get()) ?? []
    }

    /// Uses another credential from now on, without losing a push: pushes in flight are answered on their connections,
    /// all others are sent over new ones. Apple asks for this after a key or certificate was revoked.
    ///
    /// - Throws: if the credential cannot be used; the client then keeps the current one.
    public func replaceCredential(_ credential: APNSCredential) throws(APNSConfigurationError) {
        let tls: NIOSSLContext
        do {
            tls = try configuration.makeTLSContext(credential)
        } catch {
            throw APNSConfigurationError(problems: ["the credential cannot be used for TLS"])
        }
        eventLoop.execute { [engine] in engine.value.replace(credential, tls: tls) }
    }

    /// Takes no new pushes, and reports queued pushes as never written. Pushes in flight are still answered, and then
    /// the client closes; `shutdown(grace:)` limits how long that may take.
    public func stopSending() {
        eventLoop.execute { [engine] in engine.value.stopSending() }
    }

    /// Takes no new pushes, waits up to `grace` for the answers to the pushes in the client, reports the rest and
    /// closes.
    ///
    /// May be called repeatedly; each call returns when the client is closed, and the shortest grace applies. Cancelling
    /// the task ends the grace, also of other calls.
    public func shutdown(grace: Duration = .seconds(10)) async {
        let promise = eventLoop.makePromise(of: Void.self)
        let grace = Self.timeAmount(grace)
        eventLoop.execute { [engine] in engine.value.close(grace: grace, promise: promise) }
        await withTaskCancellationHandler {
            // The promise never fails.
            try? await promise.futureResult.get()
        } onCancel: {
            eventLoop.execute { [engine] in engine.value.close(grace: .zero, promise: nil) }
        }
    }
}
