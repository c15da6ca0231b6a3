import PushModel
import PushStore
import Telemetry

extension GatewayMetrics {
    // MARK: Outcomes

    static func registerOutcomes(_ store: any StoreMaintenance, apps: [AppID], in registry: MetricsRegistry) {
        registry.counters(
            "godwit_outcomes_total", help: "Settled pushes.", labels: ["app", "verdict", "code"]
        ) { outcomes(store.settled(), apps: apps) }
    }

    /// Counts without the reasons of APNs, which would multiply the number of series by ten.
    private static func outcomes(_ settled: OutcomeCounts, apps: [AppID]) -> [(values: [String], Double)] {
        var counts: [OutcomeCounts.Key: Int] = [:]
        // One series of each verdict exists from the start, so that its first increase is visible.
        for app in apps {
            for verdict in Verdict.allCases {
                counts[OutcomeCounts.Key(app: app, verdict: verdict, code: verdict.ordinaryCode)] = 0
            }
        }
        for (key, pushes) in settled.counts {
            counts[OutcomeCounts.Key(app: key.app, verdict: key.verdict, code: key.code), default: 0] += pushes
        }
        return counts.map { key, pushes in
            (["\(key.app)", key.verdict.label, "\(key.code.rawValue)"], Double(pushes))
        }.sorted { $0.0.lexicographicallyPrecedes($1.0) }
    }

    // MARK: Queue and store

    static func registerStore(_ maintenance: StoreMaintenanceService, apps: [AppID], in registry: MetricsRegistry) {
        registry.gauges(
            "godwit_queue_pushes", help: "Pushes accepted and not settled, sampled once a second.", labels: ["app"]
        ) {
            var waiting = Dictionary(uniqueKeysWithValues: apps.map { ($0, 0) })
            for row in maintenance.latestSample.depth.rows { waiting[row.app, default: 0] += row.pushes }
            return waiting.sorted { $0.key < $1.key }.map { (["\($0.key)"], Double($0.value)) }
        }
        registry.gauge(
            "godwit_queue_unconfigured_pushes", help: "Waiting pushes of apps that are not configured."
        ) {
            Double(maintenance.latestSample.depth.rows.reduce(0) { $0 + (apps.contains($1.app) ? 0 : $1.pushes) })
        }
        registry.gauges(
            "godwit_queue_oldest_seconds", help: "Age of the oldest due batch that is not claimed.", labels: ["app"]
        ) {
            let sample = maintenance.latestSample
            return apps.map { app in (["\(app)"], sample.oldestDueAge(of: app).map { $0 / .seconds(1) } ?? 0) }
        }
        registry.gauge("godwit_store_bytes", help: "Size of the database.") {
            Double(maintenance.latestSample.usage?.bytesUsed ?? 0)
        }
        registry.gauge("godwit_store_free_bytes", help: "Free space on the disk of the database.") {
            Double(maintenance.latestSample.usage?.bytesFree ?? 0)
        }
    }
}

extension Verdict {
    /// An error code that pushes with this verdict can have.
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
