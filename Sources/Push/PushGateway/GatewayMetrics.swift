import APNSKit
import APNSWire
import PushAccept
import PushDispatch
import PushModel
import PushStore
import Synchronization
import Telemetry

/// The metrics of dispatch, APNs and outcome. Those of accept are its own.
enum GatewayMetrics {
    static func register(
        in registry: MetricsRegistry, dispatcher: Dispatcher, clients: [AppID: APNSClient], links: ConnectivityMonitor,
        maintenance: StoreMaintenanceService, store: any StoreMaintenance, readiness: Readiness
    ) {
        registry.gauge("godwit_ready", help: "1 while pushes are taken, as GET /readyz says.") {
            readiness.problems.isEmpty ? 1 : 0
        }
        let counters = dispatcher.counters
        let apps = clients.keys.sorted()
        registry.counters(
            "godwit_outcomes_total", help: "Pushes settled.", labels: ["app", "verdict", "code"]
        ) { outcomes(store.settled(), apps: apps) }
        let totals: [(String, String, @Sendable () -> Int)] = [
            (
                "batches_claimed", "Batches claimed from the store.",
                { counters.batchesClaimed.load(ordering: .relaxed) }
            ),
            (
                "batches_handed_over", "Batches that went from accept to dispatch without being read back.",
                { counters.batchesHandedOver.load(ordering: .relaxed) }
            ),
            ("attempts", "Pushes handed to an APNs client.", { counters.pushesSent.load(ordering: .relaxed) }),
            (
                "retries", "Attempts that sent their push back to the queue.",
                { counters.retries.load(ordering: .relaxed) }
            ),
            (
                "ambiguous_attempts", "Attempts that were written and not answered; each may have become a double.",
                { counters.ambiguous.load(ordering: .relaxed) }
            ),
            (
                "late_answers", "Answers for batches that were no longer ours; they changed nothing.",
                { counters.lateAnswers.load(ordering: .relaxed) }
            ),
            (
                "leases_lost", "Batches that another instance took over.",
                { counters.leasesLost.load(ordering: .relaxed) }
            ),
            (
                "retry_budget_waits", "Pushes that had to wait because too many were sent again already.",
                { counters.budgetWaits.load(ordering: .relaxed) }
            ),
            (
                "rate_waits", "Times that an app came to the limit of what it may send in a second.",
                { counters.rateWaits.load(ordering: .relaxed) }
            ),
            (
                "cancelled_in_memory", "Pushes cancelled after they were claimed and before they were sent.",
                { counters.cancelledInMemory.load(ordering: .relaxed) }
            ),
        ]
        for (name, help, read) in totals {
            registry.counter("godwit_\(name)_total", help: help) { Double(read()) }
        }
        registry.gauge("godwit_pushes_in_memory", help: "Claimed pushes that are not durably settled yet.") {
            Double(dispatcher.snapshot().pushesInMemory)
        }
        registry.gauge("godwit_pushes_in_flight", help: "Pushes handed to an APNs client and not yet answered.") {
            Double(dispatcher.snapshot().pushesInFlight)
        }
        registry.gauges(
            "godwit_path_seconds", help: "From accepted to answered by APNs, quantiles since the start.",
            label: "quantile",
            [0.5, 0.99, 0.999].map { quantile in ("\(quantile)", { counters.pathSeconds(quantile) }) }
        )
        registry.gauges(
            "godwit_breaker_state", help: "The way to APNs: 0 closed, 1 half open, 2 open.", label: "app",
            apps.map { app in
                ("\(app)", { Double(dispatcher.breakerState(of: app).rawValue) })
            }
        )
        registry.gauges(
            "godwit_apns_unreachable", help: "1 while no connection to APNs can be made.", label: "app",
            apps.map { app in ("\(app)", { links.isCut(app) ? 1 : 0 }) }
        )
        registerLinks(in: registry, clients)
        registerStore(in: registry, maintenance, apps: apps)
    }

    /// Reasons are for the log: with them there would be ten times the series.
    private static func outcomes(_ tally: OutcomeCounts, apps: [AppID]) -> [(values: [String], Double)] {
        var counts: [OutcomeCounts.Key: Int] = [:]
        // From the start, so that the first of each verdict is seen as a step.
        for app in apps {
            for verdict in Verdict.allCases {
                counts[OutcomeCounts.Key(app: app, verdict: verdict, code: verdict.ordinaryCode)] = 0
            }
        }
        for (key, pushes) in tally.counts {
            counts[OutcomeCounts.Key(app: key.app, verdict: key.verdict, code: key.code), default: 0] += pushes
        }
        return counts.map { key, pushes in
            (["\(key.app)", key.verdict.label, "\(key.code.rawValue)"], Double(pushes))
        }.sorted { $0.0.lexicographicallyPrecedes($1.0) }
    }

    static func register(_ admission: AdmissionController, of directory: AppDirectory, in registry: MetricsRegistry) {
        registry.gauges(
            "godwit_admission_refused", help: "1 while new pushes of the app are refused because too many of it wait.",
            label: "app",
            directory.apps.enumerated().map { index, app in
                ("\(app.id)", { admission.refusal(ofAppAt: index) == nil ? 0 : 1 })
            }
        )
    }

    private static func registerStore(
        in registry: MetricsRegistry, _ maintenance: StoreMaintenanceService, apps: [AppID]
    ) {
        registry.gauges(
            "godwit_queue_pushes", help: "Pushes accepted and not settled, a second ago.", labels: ["app"]
        ) {
            var waiting = Dictionary(uniqueKeysWithValues: apps.map { ($0, 0) })
            for row in maintenance.sample.depth.rows { waiting[row.app, default: 0] += row.pushes }
            return waiting.sorted { $0.key < $1.key }.map { (["\($0.key)"], Double($0.value)) }
        }
        registry.gauge(
            "godwit_queue_unconfigured_pushes", help: "Those of them whose app is not configured: nobody sends them."
        ) {
            Double(maintenance.sample.depth.rows.reduce(0) { $0 + (apps.contains($1.app) ? 0 : $1.pushes) })
        }
        registry.gauges(
            "godwit_queue_oldest_seconds", help: "Age of the oldest batch that is due and waits.", labels: ["app"]
        ) {
            let sample = maintenance.sample
            return apps.map { app in (["\(app)"], sample.oldestDueAge(of: app).map { $0 / .seconds(1) } ?? 0) }
        }
        registry.gauge("godwit_store_bytes", help: "Bytes that the store takes.") {
            Double(maintenance.sample.usage?.bytesUsed ?? 0)
        }
        registry.gauge("godwit_store_free_bytes", help: "Bytes that the store's disk has left.") {
            Double(maintenance.sample.usage?.bytesFree ?? 0)
        }
    }

    /// One series for each app: whose way to APNs it is.
    private static func registerLinks(in registry: MetricsRegistry, _ clients: [AppID: APNSClient]) {
        let clients = clients.sorted { "\($0.key)" < "\($1.key)" }
        func readings(_ read: @escaping @Sendable (APNSClientSnapshot) -> Double) -> [(String, MetricsRegistry.Reading)]
        {
            clients.map { app, client in ("\(app)", { read(client.snapshot()) }) }
        }
        let gauges: [(String, String, @Sendable (APNSClientSnapshot) -> Double)] = [
            ("connections", "Connections to APNs that take pushes.", { Double($0.connections) }),
            ("streams_open", "Streams open to APNs.", { Double($0.streamsOpen) }),
            ("streams_max", "Streams that may be open to APNs.", { Double($0.streamsMax) }),
            ("waiting", "Pushes in the APNs client that no connection has taken yet.", { Double($0.waiting) }),
            (
                "credential_refused", "1 while APNs refuses the credential.",
                { $0.credentialReason == .none ? 0 : 1 }
            ),
        ]
        for (name, help, read) in gauges {
            registry.gauges("godwit_apns_\(name)", help: help, label: "app", readings(read))
        }
        let totals: [(String, String, @Sendable (APNSClientSnapshot) -> UInt64)] = [
            ("requests", "Requests handed to a connection; a push that was sent again counts again.", \.sent),
            ("answers", "Answers from APNs.", \.answered),
            ("accepted", "Answers with status 200.", \.accepted),
            ("ambiguous", "Requests that were written and not answered.", \.ambiguous),
            ("sent_again", "Requests that APNs had not processed, sent again at once.", \.requeued),
            ("resets", "Streams reset by us: deadlines, and answers without an end.", \.resets),
            ("connects", "Connections made.", \.connects),
            ("goaways", "GOAWAY frames received.", \.goAways),
            ("retired", "Connections that were told to take no new pushes.", \.retired),
        ]
        for (name, help, read) in totals {
            registry.counters("godwit_apns_\(name)_total", help: help, label: "app", readings { Double(read($0)) })
        }
    }
}

extension Verdict {
    /// A code that pushes of the verdict may have.
    fileprivate var ordinaryCode: ErrorCode {
        switch self {
        case .delivered: .none
        case .rejected: .requestRefused
        case .expired: .expired
        case .cancelled: .cancelled
        case .suppressed: .superseded
        case .givenUp: .givenUp
        }
    }
}
