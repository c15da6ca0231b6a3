import APNSKit
import APNSWire
import PushModel
import Synchronization
import Telemetry

extension GatewayMetrics {
    /// Registers the metrics of the APNs clients.
    ///
    /// Apps that share a client have one series of its figures together, under the name of the first of them, so that a
    /// sum counts each client once. Whether APNs is reached is a fact of each app, and so is what the app sends.
    static func registerAPNS(
        _ senders: [AppEnvironment: AppSender], _ connectivity: ConnectivityMonitor, in registry: MetricsRegistry
    ) {
        let sendersByApp = Dictionary(grouping: senders) { $0.key.app }.mapValues { $0.map(\.value) }
        let apps = sendersByApp.sorted { $0.key < $1.key }
        registry.counters(
            "godwit_attempts_total", help: "Pushes handed to an APNs client.", label: "app",
            apps.map { app, senders in
                ("\(app)", { Double(senders.reduce(0) { $0 + $1.attempts.load(ordering: .relaxed) }) })
            }
        )
        registry.gauges(
            "godwit_apns_unreachable", help: "1 while APNs cannot be reached, or answers no push.", label: "app",
            apps.map { app, _ in ("\(app)", { connectivity.outage(of: app) == nil ? 0 : 1 }) }
        )
        registry.gauges(
            "godwit_apns_unreachable_since_seconds",
            help: "UNIX time since when APNs cannot be reached, or answers no push; 0 while it does.", label: "app",
            apps.map { app, _ in
                ("\(app)", { connectivity.outage(of: app).map { Double($0.since.secondsSince1970) } ?? 0 })
            }
        )
        registry.gauges(
            "godwit_apns_credential_refused", help: "1 while APNs refuses the key or certificate.", label: "app",
            apps.map { app, senders in
                ("\(app)", { senders.contains { $0.client.snapshot().credentialReason != .none } ? 1 : 0 })
            }
        )
        registerClients(clientsByFirstApp(senders), in: registry)
    }

    /// Each client once, by the first app that uses it.
    private static func clientsByFirstApp(
        _ senders: [AppEnvironment: AppSender]
    ) -> [(app: AppID, clients: [APNSClient])] {
        var seen: Set<ObjectIdentifier> = []
        var clients: [(app: AppID, clients: [APNSClient])] = []
        for (app, sender) in senders.sorted(by: { $0.key < $1.key })
        where seen.insert(ObjectIdentifier(sender.client)).inserted {
            if clients.last?.app == app.app {
                clients[clients.count - 1].clients.append(sender.client)
            } else {
                clients.append((app.app, [sender.client]))
            }
        }
        return clients
    }

    private static func registerClients(
        _ clients: [(app: AppID, clients: [APNSClient])], in registry: MetricsRegistry
    ) {
        func readings(_ read: @escaping @Sendable (APNSClientSnapshot) -> Double) -> [(String, MetricsRegistry.Reading)]
        {
            clients.map { app, clients in ("\(app)", { clients.reduce(0) { $0 + read($1.snapshot()) } }) }
        }
        let gauges: [(String, String, @Sendable (APNSClientSnapshot) -> Double)] = [
            ("connections", "Connections that accept pushes.", { Double($0.connections) }),
            ("streams_open", "Open streams.", { Double($0.streamsOpen) }),
            ("streams_max", "Streams that may be open.", { Double($0.streamsMax) }),
            ("waiting", "Pushes that no connection has accepted yet.", { Double($0.waiting) }),
        ]
        for (name, help, read) in gauges {
            registry.gauges("godwit_apns_\(name)", help: help, label: "app", readings(read))
        }
        let totals: [(String, String, @Sendable (APNSClientSnapshot) -> UInt64)] = [
            ("requests", "Requests handed to a connection; a push that is sent again counts again.", \.sent),
            ("answers", "Answers.", \.answered),
            ("accepted", "Answers with status 200.", \.accepted),
            ("ambiguous", "Requests that were written and not answered.", \.ambiguous),
            ("sent_again", "Requests that APNs had not processed, sent again immediately.", \.requeued),
            ("sent_again_limit", "Pushes that wait because they were sent again as often as allowed.", \.requeueLimit),
            ("resets", "Streams that the client reset: deadlines, and answers without an end.", \.resets),
            ("connects", "Connections made.", \.connects),
            ("connects_delayed", "Connections that waited because many had been opened before.", \.connectsDelayed),
            ("goaways", "GOAWAY frames received.", \.goAways),
            ("retired", "Connections drained.", \.drained),
        ]
        for (name, help, read) in totals {
            registry.counters("godwit_apns_\(name)_total", help: help, label: "app", readings { Double(read($0)) })
        }
        registry.counters(
            "godwit_apns_connection_failures_total",
            help: "Connections that could not be opened or were lost, and answers that are not those of APNs.",
            labels: ["app", "cause"]
        ) {
            clients.flatMap { app, clients in
                let failures = clients.reduce(into: [:]) { sum, client in
                    sum.merge(client.snapshot().failures) { $0 + $1 }
                }
                return samples(of: failures).map { (values: ["\(app)", $0], $1) }
            }
        }
    }

    /// One series exists from the start, so that the first failures show as an increase.
    private static func samples(of failures: [APNSConnectionFailure.Cause: UInt64]) -> [(cause: String, Double)] {
        APNSConnectionFailure.Cause.allCases.filter { failures[$0] != nil || $0 == .timedOut }
            .map { ($0.rawValue, Double(failures[$0] ?? 0)) }
    }
}
