package import APNSKit
package import APNSWire
import Logging
import PushModel
import Synchronization

/// Polls the APNs client of each app, logs when APNs becomes unreachable, when it refuses the credential and when
/// either ends, and records which apps cannot reach APNs.
package final class ConnectivityMonitor: Sendable {
    /// The last known state of one app's connectivity. Pure.
    package struct AppState: Equatable {
        package enum Change: Equatable {
            case unreachable(APNSAnswer.Failure)
            case credentialRefused(APNSReason)
            case restored
        }

        private var lastChange = Change.restored

        package init() {}

        /// Evaluates a snapshot of the client.
        ///
        /// - Returns: the change since the last snapshot that was conclusive; nil if there is none.
        package mutating func update(_ snapshot: APNSClientSnapshot) -> Change? {
            let change: Change
            if snapshot.credentialReason != .none {
                change = .credentialRefused(snapshot.credentialReason)
            } else {
                switch snapshot.state {
                case .waiting: change = .unreachable(snapshot.lastFailure)
                case .ready: change = .restored
                // Not conclusive.
                case .idle, .connecting, .closed: return nil
                }
            }
            guard change != lastChange else { return nil }
            lastChange = change
            return change
        }
    }

    private static let interval: Duration = .milliseconds(500)
    private let clients: [AppID: APNSClient]
    private let logger: Logger
    private let unreachable = Mutex<Set<AppID>>([])
    private let isAnyUnreachable = Atomic<Bool>(false)

    init(_ clients: [AppID: APNSClient], logger: Logger) {
        self.clients = clients
        self.logger = logger
    }

    /// Polls twice a second until the task is cancelled.
    func run() async {
        var states = clients.mapValues { _ in AppState() }
        while !Task.isCancelled {
            for (app, client) in clients {
                if let change = states[app]?.update(client.snapshot()) { apply(change, to: app) }
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    /// Whether no connection to APNs can be made for the app. Cheap enough to be called for each batch.
    func isUnreachable(_ app: AppID) -> Bool {
        isAnyUnreachable.load(ordering: .relaxed) && unreachable.withLock { $0.contains(app) }
    }

    private func apply(_ change: AppState.Change, to app: AppID) {
        unreachable.withLock { unreachable in
            if case .unreachable = change { unreachable.insert(app) } else { unreachable.remove(app) }
            isAnyUnreachable.store(!unreachable.isEmpty, ordering: .relaxed)
        }
        switch change {
        case .unreachable(let failure):
            logger.warning("APNs is unreachable", metadata: ["app": "\(app)", "apns.failure": "\(failure)"])
        case .credentialRefused(let reason):
            logger.warning("APNs refuses the credential", metadata: ["app": "\(app)", "apns.reason": "\(reason)"])
        case .restored:
            logger.notice("APNs accepts pushes again", metadata: ["app": "\(app)"])
        }
    }
}
