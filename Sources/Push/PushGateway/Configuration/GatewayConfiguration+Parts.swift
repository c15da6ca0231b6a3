import APNSKit
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
        accept.leaseDuration = delivery.lease
        accept.rateLimits = limits
        accept.idempotentBodyBytesMax = idempotentBodyMaxMiB << 20
        accept.idempotentBodiesBytesMax = idempotentBodiesMaxMiB << 20
        accept.admission = admission
        return accept
    }

    var dispatch: DispatchConfiguration {
        var dispatch = delivery
        for app in apps {
            let settings = app.settings
            dispatch.apps[settings.id] = settings
        }
        return dispatch
    }

    var directory: AppDirectory {
        AppDirectory(apps: apps.map(\.settings))
    }
}

extension GatewayConfiguration.App {
    var apnsEndpoint: APNSClientConfiguration.Endpoint {
        if let endpoint { return .init(host: endpoint.host, port: endpoint.port) }
        return environment == .production ? .production : .sandbox
    }

    fileprivate var settings: AppSettings {
        let endpoint = apnsEndpoint
        return AppSettings(
            id: AppID(name), bundleID: bundleID, endpoint: "\(endpoint.host):\(endpoint.port)", pushesPerSecond: rate
        )
    }
}
