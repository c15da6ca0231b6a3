import APNSKit
import APNSWire
package import PushAccept
import PushDispatch
import PushModel
import PushStore

/// The configurations of the modules.
extension GatewayConfiguration {
    package var accept: AcceptConfiguration {
        var accept = AcceptConfiguration()
        accept.host = listen.host
        accept.port = listen.port
        accept.hosts = http.hosts
        accept.trustedProxies = http.trustedProxies.compactMap(AddressRange.init)
        accept.leaseDuration = delivery.lease
        accept.rateLimits = limits
        accept.idempotentBodyBytesMax = idempotentBodyMaxMiB << 20
        accept.idempotentBodiesBytesMax = idempotentBodiesMaxMiB << 20
        accept.connections = clientConnections
        accept.heldBytesMax = heldMaxMiB << 20
        accept.storedResponses = IdempotencyUsage(records: storedResponsesMax, bytes: storedResponsesMaxMiB << 20)
        accept.admission = admission
        return accept
    }

    var dispatch: DispatchConfiguration {
        var dispatch = delivery
        for (id, app, settings) in appEnvironments {
            let endpoint = settings.apnsEndpoint
            dispatch.apps[id] = AppSettings(
                id: id.app, bundleID: app.bundleID, endpoint: "\(endpoint.host):\(endpoint.port)",
                pushesPerSecond: settings.rate
            )
        }
        return dispatch
    }

    var directory: AppDirectory {
        AppDirectory(
            apps: apps.map { app in
                ConfiguredApp(
                    id: AppID(app.name), bundleID: app.bundleID, environments: app.environments.map(\.environment))
            }
        )
    }

    /// Each app in each of its environments, in the order of the configuration.
    var appEnvironments: [(id: AppEnvironment, app: App, settings: EnvironmentSettings)] {
        apps.flatMap { app in
            app.environments.map { (AppEnvironment(AppID(app.name), $0.environment), app, $0) }
        }
    }
}

extension GatewayConfiguration.EnvironmentSettings {
    var apnsEndpoint: APNSClientConfiguration.Endpoint {
        if let endpoint { return .init(host: endpoint.host, port: endpoint.port) }
        return environment == .production ? .production : .sandbox
    }
}
