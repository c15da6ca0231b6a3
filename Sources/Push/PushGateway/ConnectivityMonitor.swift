package import APNSKit
package import APNSWire
import Logging
package import PushModel
import Synchronization
import Telemetry

/// Polls the APNs clients, logs when APNs cannot be reached, when it refuses a credential and when either ends, and
/// records both for metrics, readiness and the delay of pushes.
package final class ConnectivityMonitor: Sendable {
    /// What is known of the connectivity of one client.
    package enum Condition: Equatable, Sendable {
        case reachable
        case unreachable(APNSOutage)
        case credentialRefused(APNSReason, detail: String)

        package init(_ snapshot: APNSClientSnapshot) {
            if let outage = snapshot.outage {
                self = .unreachable(outage)
            } else if snapshot.credentialReason != .none {
                self = .credentialRefused(snapshot.credentialReason, detail: snapshot.refusalDetail)
            } else {
                self = .reachable
            }
        }
    }

    /// Decides which changes of a condition are logged: each cause once until APNs accepts pushes again, because the
    /// causes of successive attempts alternate, for example by address. Pure.
    package struct ChangeFilter {
        private enum Logged: Hashable {
            case outage(APNSConnectionFailure.Cause)
            case refusal(APNSReason)
        }

        private var logged: Set<Logged> = []

        package init() {}

        /// - Returns: whether to log the condition.
        package mutating func update(_ condition: Condition) -> Bool {
            switch condition {
            case .reachable:
                defer { logged = [] }
                return !logged.isEmpty
            case .unreachable(let outage): return logged.insert(.outage(outage.failure.cause)).inserted
            case .credentialRefused(let reason, _): return logged.insert(.refusal(reason)).inserted
            }
        }
    }

    /// The apps and environments that share a client.
    private struct Group {
        var client: APNSClient
        var apps: [AppEnvironment]
        var filter = ChangeFilter()
    }

    private struct State {
        /// Without apps that APNs can be reached for.
        var conditions: [AppEnvironment: Condition] = [:]
        /// The last refusal of each app, which may concern a topic only.
        var refusals: [AppEnvironment: String] = [:]
    }

    private static let interval: Duration = .milliseconds(500)
    private let clients: [AppEnvironment: APNSClient]
    private let logger: Logger
    private let state = Mutex(State())
    private let isAnyDisturbed = Atomic<Bool>(false)

    init(_ clients: [AppEnvironment: APNSClient], logger: Logger) {
        self.clients = clients
        self.logger = logger
    }

    /// Polls twice a second until the task is cancelled.
    func run() async {
        var groups = Dictionary(grouping: clients.keys.sorted()) { ObjectIdentifier(clients[$0]!) }.values
            .map { Group(client: clients[$0[0]]!, apps: $0) }
        while !Task.isCancelled {
            for index in groups.indices {
                let snapshot = groups[index].client.snapshot()
                let condition = Condition(snapshot)
                record(condition, refusal: snapshot.refusalDetail, of: groups[index].apps)
                if groups[index].filter.update(condition) { log(condition, groups[index].apps) }
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    private func record(_ condition: Condition, refusal: String, of apps: [AppEnvironment]) {
        state.withLock { state in
            for app in apps {
                state.conditions[app] = condition == .reachable ? nil : condition
                state.refusals[app] = refusal.isEmpty ? nil : refusal
            }
            isAnyDisturbed.store(!state.conditions.isEmpty || !state.refusals.isEmpty, ordering: .relaxed)
        }
    }

    // MARK: What is known

    /// Since when and why APNs cannot be reached for the app; nil if it can, as far as is known. Cheap enough to be
    /// called for each batch.
    func outage(of app: AppEnvironment) -> APNSOutage? {
        guard isAnyDisturbed.load(ordering: .relaxed) else { return nil }
        guard case .unreachable(let outage) = state.withLock({ $0.conditions[app] }) else { return nil }
        return outage
    }

    /// Since when and why APNs cannot be reached for the app in one of its environments: the earliest outage.
    func outage(of app: AppID) -> APNSOutage? {
        let outages = APNSEnvironment.allCases.compactMap { outage(of: AppEnvironment(app, $0)) }
        return outages.min { $0.since < $1.since }
    }

    /// The delay of an app, with what is known about its cause.
    ///
    /// - Parameter delay: what dispatch knows; nil if it sends.
    func explain(_ delay: DeliveryDelay?, of app: AppEnvironment) -> DeliveryDelay? {
        guard isAnyDisturbed.load(ordering: .relaxed) else { return delay }
        let (condition, refusal) = state.withLock { ($0.conditions[app], $0.refusals[app]) }
        var outage: APNSOutage?
        if case .unreachable(let known) = condition { outage = known }
        return Self.explain(delay, outage: outage, refusal: refusal)
    }

    /// - Parameter refusal: the last refusal of the credential or topic; nil without one.
    package static func explain(_ delay: DeliveryDelay?, outage: APNSOutage?, refusal: String?) -> DeliveryDelay? {
        guard var explained = delay else { return outage.map(unreachable) }
        switch explained.reason {
        // The outage is also the cause of a backlog, and its end is not known.
        case .backlog: if let outage { return unreachable(outage) }
        case .apnsUnreachable: if let outage { explained.detail = outage.failure.detail }
        case .credentialRefused: if let refusal { explained.detail = refusal }
        case .paused, .rateLimited: break
        }
        return explained
    }

    /// A breaker opens after several failed calls; the client detects a failed connection after one.
    private static func unreachable(_ outage: APNSOutage) -> DeliveryDelay {
        DeliveryDelay(reason: .apnsUnreachable, estimate: nil, detail: outage.failure.detail)
    }

    /// What an operator should know although this instance accepts pushes: one sentence for each cause, at most 20.
    var notices: [String] {
        guard isAnyDisturbed.load(ordering: .relaxed) else { return [] }
        var apps: [String: [AppEnvironment]] = [:]
        for (app, condition) in state.withLock({ $0.conditions }).sorted(by: { $0.key < $1.key }) {
            apps[Self.text(of: condition), default: []].append(app)
        }
        return apps.sorted { $0.key < $1.key }.prefix(20).map { "\($0.key) (\(Self.names($0.value)))" }
    }

    private static func text(of condition: Condition) -> String {
        switch condition {
        case .reachable: "APNs can be reached"
        case .unreachable(let outage):
            "APNs cannot be reached since \(time(outage.since)): \(outage.failure.detail)"
        case .credentialRefused(_, let detail): "APNs refuses the credential: \(detail)"
        }
    }

    private static func time(_ time: UNIXTime) -> String { RFC3339.text(milliseconds: time.secondsSince1970 * 1000) }

    private static func names(_ apps: [AppEnvironment]) -> String { AppNames.list(apps.map { "\($0)" }) }

    private func log(_ condition: Condition, _ apps: [AppEnvironment]) {
        // Apps that share a client share its endpoint, and so usually the environment.
        var metadata = AppNames.metadata(of: apps)
        switch condition {
        case .unreachable(let outage):
            if outage.failure.failure != .none { metadata["apns.failure"] = "\(outage.failure.failure)" }
            metadata["apns.cause"] = "\(outage.failure.cause.rawValue)"
            metadata["apns.detail"] = "\(outage.failure.detail)"
            metadata["apns.since"] = "\(Self.time(outage.since))"
            logger.warning("APNs is unreachable", metadata: metadata)
        case .credentialRefused(let reason, let detail):
            metadata["apns.reason"] = "\(reason)"
            metadata["apns.detail"] = "\(detail)"
            logger.warning("APNs refuses the credential", metadata: metadata)
        case .reachable: logger.notice("APNs accepts pushes again", metadata: metadata)
        }
    }
}
