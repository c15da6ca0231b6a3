import APNSKit
import APNSWire
import PushModel
import Telemetry

extension GatewayMetrics {
    /// Registers one series of each metric for the APNs client of each app.
    static func registerAPNS(
        _ clients: [AppID: APNSClient], _ connectivity: ConnectivityMonitor, in registry: MetricsRegistry
    ) {
        let clients = clients.sorted { $0.key < $1.key }
        func readings(_ read: @escaping @Sendable (APNSClientSnapshot) -> Double) -> [(String, MetricsRegistry.Reading)]
        {
            clients.map { app, client in ("\(app)", { read(client.snapshot()) }) }
        }
        registry.gauges(
            "godwit_apns_unreachable", help: "1 while no connection to APNs can be made.", label: "app",
            clients.map { app, _ in ("\(app)", { connectivity.outage(of: app) == nil ? 0 : 1 }) }
        )
        registry.gauges(
            "godwit_apns_unreachable_since_seconds",
            help: "UNIX time since when no connection to APNs works; 0 while one does.", label: "app",
            clients.map { app, _ in
                ("\(app)", { connectivity.outage(of: app).map { Double($0.since.secondsSince1970) } ?? 0 })
            }
        )
        registerFailures(clients, in: registry)
        let gauges: [(String, String, @Sendable (APNSClientSnapshot) -> Double)] = [
            ("connections", "Connections that accept pushes.", { Double($0.connections) }),
            ("streams_open", "Open streams.", { Double($0.streamsOpen) }),
            ("streams_max", "Streams that may be open.", { Double($0.streamsMax) }),
            ("waiting", "Pushes that no connection has accepted yet.", { Double($0.waiting) }),
            (
                "credential_refused", "1 while APNs refuses the key or certificate.",
                { $0.credentialReason == .none ? 0 : 1 }
            ),
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
    }

    private static func registerFailures(_ clients: [(key: AppID, value: APNSClient)], in registry: MetricsRegistry) {
        registry.counters(
            "godwit_apns_connection_failures_total",
            help: "Connections that could not be opened or were lost, and answers that are not those of APNs.",
            labels: ["app", "cause"]
        ) {
            clients.flatMap { app, client in
                samples(of: client.snapshot().failures).map { (values: ["\(app)", $0], $1) }
            }
        }
    }

    /// One series exists from the start, so that the first failures show as an increase.
    private static func samples(of failures: [APNSConnectionFailure.Cause: UInt64]) -> [(cause: String, Double)] {
        APNSConnectionFailure.Cause.allCases.filter { failures[$0] != nil || $0 == .timedOut }
            .map { ($0.rawValue, Double(failures[$0] ?? 0)) }
    }
}
