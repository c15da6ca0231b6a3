import PushAccept
import PushDispatch
import PushModel
import PushStore
import Telemetry

/// The metrics of all modules except acceptance, which registers its own. Reference: docs/reference/metrics.md
enum GatewayMetrics {
    static func register(
        in registry: MetricsRegistry, dispatcher: Dispatcher, senders: [AppEnvironment: AppSender],
        connectivity: ConnectivityMonitor, maintenance: StoreMaintenanceService, store: any StoreMaintenance,
        readiness: Readiness
    ) {
        let apps = Set(senders.keys.map(\.app)).sorted()
        registry.gauge("godwit_ready", help: "1 while GET /readyz returns 200.") {
            readiness.problems.isEmpty ? 1 : 0
        }
        registerDispatch(dispatcher, apps: apps, in: registry)
        registerOutcomes(store, apps: apps, in: registry)
        registerAPNS(senders, connectivity, in: registry)
        registerStore(maintenance, apps: apps, in: registry)
    }

    static func registerProcess(startedAt: WallTime, in registry: MetricsRegistry) {
        registry.registerProcessMetrics(startedAt: Double(startedAt.milliseconds) / 1000)
        registry.gauges(
            "godwit_build_info", help: "1, with the version of this executable.", label: "version",
            [(GodwitVersion.current, { @Sendable in 1 })]
        )
    }

    static func register(_ certificates: CertificateMonitor, apps: [AppID], in registry: MetricsRegistry) {
        registry.gauges(
            "godwit_apns_certificate_expiry_seconds",
            help: "UNIX time at which the client certificate of the app ends; 0 for an app without one.",
            labels: ["app"]
        ) {
            certificates.ends(of: apps).map { (["\($0.app)"], $0.seconds) }
        }
    }

    static func register(_ admission: AdmissionController, of directory: AppDirectory, in registry: MetricsRegistry) {
        registry.gauges(
            "godwit_admission_refused", help: "1 while new pushes of the app are refused because of its own queue.",
            label: "app",
            directory.apps.enumerated().map { index, app in
                ("\(app.id)", { admission.refusal(ofAppAt: index) == nil ? 0 : 1 })
            }
        )
    }
}
