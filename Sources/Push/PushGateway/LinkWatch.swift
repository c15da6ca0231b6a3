import APNSKit
import APNSWire
import Logging
import PushModel

/// Tells the log when an app's way to APNs is cut or its credential refused, and when it is well again: once each.
package struct LinkWatch {
    /// What is known of one app's link. Pure.
    package struct Link: Equatable {
        package enum Change: Equatable {
            case cut(APNSAnswer.Failure)
            case refused(APNSReason)
            case well
        }

        private var lastTold = Change.well

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
            guard change != lastTold else { return nil }
            lastTold = change
            return change
        }
    }

    private static let interval: Duration = .milliseconds(500)
    private let clients: [AppID: APNSClient]
    private let logger: Logger

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

    private func tell(_ change: Link.Change, of app: AppID) {
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
