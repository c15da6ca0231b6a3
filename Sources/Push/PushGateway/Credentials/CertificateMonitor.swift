import APNSKit
import Foundation
import Logging
import PushModel
import Synchronization
import Telemetry

/// Watches the ends of the client certificates: APNs refuses an expired one without a grace period.
final class CertificateMonitor: Sendable {
    /// More often than daily, so that a warning does not come almost a day late.
    private static let interval: Duration = .seconds(3600)

    private let clients: GatewayClients
    private let bundleIDs: [AppID: String]
    private let wallClock: @Sendable () -> WallTime
    private let logger: Logger
    private let policy = Mutex(CertificateExpiryPolicy())

    init(
        _ clients: GatewayClients, bundleIDs: [AppID: String], wallClock: @escaping @Sendable () -> WallTime,
        logger: Logger
    ) {
        self.clients = clients
        self.bundleIDs = bundleIDs
        self.wallClock = wallClock
        self.logger = logger
    }

    /// Checks every hour until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            check()
            try? await Task.sleep(for: Self.interval)
        }
    }

    /// Logs what is new about each certificate.
    func check() {
        let now = wallClock()
        for group in clients.groups {
            guard let certificate = group.certificate else { continue }
            let end = WallTime(certificate.notAfter)
            guard let notice = policy.withLock({ $0.update(group.apps[0], end: end, now: now) }) else { continue }
            log(notice, group, certificate, daysLeft: CertificateExpiryPolicy.daysLeft(end: end, now: now))
        }
    }

    private func log(
        _ notice: CertificateExpiryPolicy.Notice, _ group: GatewayClients.Group, _ certificate: APNSCertificate,
        daysLeft: Int
    ) {
        let end = WallTime(certificate.notAfter)
        var metadata = AppNames.metadata(of: group.apps)
        metadata["certificate.expires"] = "\(RFC3339.text(milliseconds: end.milliseconds))"
        metadata["certificate.days"] = .stringConvertible(daysLeft)
        metadata["certificate.topics"] = "\(certificate.topics.joined(separator: " "))"
        switch notice {
        case .loaded: logger.info("certificate loaded", metadata: metadata)
        case .expiresSoon: logger.warning("certificate expires soon", metadata: metadata)
        case .expired: logger.error("certificate is expired", metadata: metadata)
        }
        let unlisted = group.apps.filter { app in
            bundleIDs[app.app].map { !certificate.topics.isEmpty && !certificate.topics.contains($0) } ?? false
        }
        guard !unlisted.isEmpty else { return }
        metadata.merge(AppNames.metadata(of: unlisted)) { $1 }
        logger.warning("certificate does not list the app's bundle ID", metadata: metadata)
    }

    /// UNIX time at which the first certificate of each app ends; 0 for an app without one.
    func ends(of apps: [AppID]) -> [(app: AppID, seconds: Double)] {
        var ends: [AppID: Double] = [:]
        for group in clients.groups {
            guard let end = group.certificate?.notAfter.timeIntervalSince1970 else { continue }
            for app in Set(group.apps.map(\.app)) { ends[app] = min(ends[app] ?? end, end) }
        }
        return apps.map { ($0, ends[$0] ?? 0) }
    }
}

extension WallTime {
    init(_ date: Date) { self.init(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded(.down))) }
}

/// Apps in log lines that concern several.
enum AppNames {
    static func metadata(of apps: [AppEnvironment]) -> Logger.Metadata {
        [
            "app": "\(list(Set(apps.map { "\($0.app)" }).sorted()))",
            "environment": "\(list(Set(apps.map(\.environment.label)).sorted()))",
        ]
    }

    /// At most ten names.
    static func list(_ names: [String]) -> String {
        let more = names.count > 10 ? " and \(names.count - 10) more" : ""
        return names.prefix(10).joined(separator: ", ") + more
    }
}
