public import APNSWire
public import NIOCore
import NIOSSL
import Synchronization

/// Sends pushes to APNs over a pool of long-lived HTTP/2 connections, thousands at a time.
///
/// Made for batches: a batch crosses to the client's event loop once, its answers come back in a few pieces, and there is
/// no task, promise or channel for a single push in between. The first connection is made when the first push comes, more
/// while more of them are of use; what is lost is made again. Pushes wait for a connection until their deadline.
///
/// A client belongs to one credential and one environment: APNs ties each connection to a team by its first push.
///
/// What the client promises about each push it was given:
/// - it is reported exactly once, by its deadline (and a twentieth of a second) at the latest;
/// - `neverWritten` and `refused` mean that APNs has certainly not processed it, `ambiguous` that it may have;
/// - what a server did not process (a refused stream, a stream above GOAWAY's last id, an expired provider token that could
///   be renewed, a server that shuts down) is sent again at once on another connection, up to twenty times;
/// - nothing else is ever sent twice, and nothing after its expiration.
///
/// The event loop group must outlive the client; call `shutdown` before either goes away.
public final class APNSClient: APNSSender, Sendable {
    private let eventLoop: any EventLoop
    private let core: NIOLoopBoundBox<APNSClientEngine>
    private let shared: ClientShared
    private let configuration: APNSClientConfiguration

    /// - Throws: all problems of `configuration` at once. Nothing is connected yet.
    public init(
        configuration: APNSClientConfiguration, eventLoopGroup: any EventLoopGroup
    ) throws(APNSConfigurationError) {
        let problems = configuration.problems()
        guard problems.isEmpty else { throw APNSConfigurationError(problems: problems) }
        let tls: NIOSSLContext
        do {
            tls = try configuration.makeTLSContext(configuration.credential)
        } catch {
            throw APNSConfigurationError(problems: ["the APNs trust roots cannot be used"])
        }
        let eventLoop = eventLoopGroup.next()
        let shared = ClientShared(queuedMax: configuration.queuedPushesMax)
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.shared = shared
        core = .makeBoxSendingValue(
            APNSClientEngine(eventLoop: eventLoop, configuration: configuration, tls: tls, shared: shared),
            eventLoop: eventLoop
        )
    }

    deinit {
        // Forgotten without `shutdown`: closes at once, so that no connection is left behind.
        guard !shared.isClosed else { return }
        eventLoop.execute { [core] in core.value.close(grace: .zero, promise: nil) }
    }

    /// Sends the pushes of `batch`; see `APNSSender`.
    ///
    /// - Parameters:
    ///   - indexes: pushes of the batch, each at most once.
    ///   - deadline: at most one day.
    /// - Precondition: the batch has every push that `indexes` names.
    public func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, deadline: Duration,
        to receiver: any APNSAnswerReceiver
    ) {
        if let indexes { precondition(indexes.allSatisfy { Int($0) < batch.count }, "a push that the batch has not") }
        let isAdmitted = shared.admit(indexes?.count ?? batch.count)
        let deadline = eventLoop.now + TimeAmount(min(max(deadline, .zero), .seconds(86_400)))
        eventLoop.execute { [core] in
            core.value.send(
                batch, indexes: indexes, ticket: ticket, deadline: deadline, to: receiver, isAdmitted: isAdmitted
            )
        }
    }

    /// How the client is doing.
    public func snapshot() -> APNSClientSnapshot { shared.snapshot }

    /// How each of its connections is doing, those on their way in and out included.
    public func connections() async -> [APNSConnectionSnapshot] {
        // Reading cannot fail: the promise is only ever succeeded.
        let snapshots = eventLoop.submit { [core] in core.value.connectionSnapshots() }
        return (try? await snapshots.get()) ?? []
    }

    /// Uses another credential from now on, without dropping a push: what is in flight is answered on the connections it is
    /// on, everything else goes over new ones. After a key or certificate was revoked this is what Apple asks for.
    ///
    /// - Throws: when the credential cannot be used; the present one stays then.
    public func replaceCredential(_ credential: APNSCredential) throws(APNSConfigurationError) {
        let tls: NIOSSLContext
        do {
            tls = try configuration.makeTLSContext(credential)
        } catch {
            throw APNSConfigurationError(problems: ["the credential cannot be used for TLS"])
        }
        eventLoop.execute { [core] in core.value.replace(credential, tls: tls) }
    }

    /// Takes no new pushes and writes none that waits: those are reported as never written. What is on its way is
    /// still answered, and then the client closes; `shutdown(grace:)` says how long that may take.
    public func stopSending() {
        eventLoop.execute { [core] in core.value.stopSending() }
    }

    /// Takes no new pushes, waits up to `grace` for the answers to those it has, reports the rest and closes.
    ///
    /// May be called more than once; each call returns when the client is closed, and the shortest grace counts.
    public func shutdown(grace: Duration = .seconds(10)) async {
        let promise = eventLoop.makePromise(of: Void.self)
        let grace = TimeAmount(min(max(grace, .zero), .seconds(86_400)))
        eventLoop.execute { [core] in core.value.close(grace: grace, promise: promise) }
        // The promise is only ever succeeded.
        try? await promise.futureResult.get()
    }
}
