package import APNSKit
package import APNSWire
import Logging
import PushModel
import Synchronization

/// Tells the log when an app's way to APNs is cut or its credential refused, and when it is well again: once each. Knows in
/// between which way is cut.
package final class ConnectivityMonitor: Sendable {
    /// What is known of one app's link. Pure.
    package struct Link: Equatable {
        package enum Change: Equatable {
            case cut(APNSAnswer.Failure)
            case refused(APNSReason)
            case well
        }

        private var lastReported = Change.well

        package init() {}

        /// What there is to tell, if that is news.
        package mutating func changed(_ snapshot: APNSClientSnapshot) -> Change? {
            let change: Change
            if snapshot.credentialReason != .none {
                change = .refused(snapshot.credentialReason)
            } else {
                switch snapshot.state {
                case .waiting: change = .cut(snapshot.lastFailure)
                case .ready: change = .well
                // Neither proves anything.
                case .idle, .connecting, .closed: return nil
                }
            }
            guard change != lastReported else { return nil }
            lastReported = change
            return change
        }
    }

    private static let interval: Duration = .milliseconds(500)
    private let clients: [AppID: APNSClient]
    private let logger: Logger
    private let cut = Mutex<Set<AppID>>([])
    private let isAnyCut = Atomic<Bool>(false)

    init(_ clients: [AppID: APNSClient], logger: Logger) {
        self.clients = clients
        self.logger = logger
    }

    /// Looks twice a second until the task is cancelled.
    func run() async {
        var links = clients.mapValues { _ in Link() }
        while !Task.isCancelled {
            for (app, client) in clients {
                if let change = links[app]?.changed(client.snapshot()) { tell(change, of: app) }
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    /// Whether the last that was heard of the app's way to APNs is that there is none. Cheap enough to be asked for each
    /// batch.
    func isCut(_ app: AppID) -> Bool {
        isAnyCut.load(ordering: .relaxed) && cut.withLock { $0.contains(app) }
    }

    private func tell(_ change: Link.Change, of app: AppID) {
        cut.withLock { cut in
            if case .cut = change { cut.insert(app) } else { cut.remove(app) }
            isAnyCut.store(!cut.isEmpty, ordering: .relaxed)
        }
        switch change {
        case .cut(let failure):
            logger.warning("APNs cannot be reached", metadata: ["app": "\(app)", "failure": "\(failure)"])
        case .refused(let reason):
            logger.warning("APNs refuses the credential", metadata: ["app": "\(app)", "reason": "\(reason)"])
        case .well:
            logger.notice("APNs takes pushes again", metadata: ["app": "\(app)"])
        }
    }
}
