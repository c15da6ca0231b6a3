// snippet: hummingbird
import APNSKit
import APNSWire
import Hummingbird
import NIOCore

/// A server with one route, `POST /orders/:number/ready?token=…`, which sends a push.
func orderServer(
    _ client: APNSClient, bundleID: String, address: BindAddress = .hostname("127.0.0.1", port: 8080),
    onServerRunning: @escaping @Sendable (any Channel) async -> Void = { _ in }
) -> some ApplicationProtocol {
    let router = Router()
    router.post("/orders/:number/ready") { request, context -> HTTPResponse.Status in
        let number = try context.parameters.require("number", as: Int.self)
        guard let token = request.uri.queryParameters["token"].flatMap({ DeviceToken(hex: String($0)) }) else {
            throw HTTPError(.badRequest, message: "token is not a device token")
        }
        let push = try APNSNotification.alert("Order \(number) is ready", to: token, bundleID: bundleID)
        do throws(APNSSendError) {
            // Short, because a caller waits. The push is not sent if the caller leaves before it is written.
            let response = try await client.send(push, requestTimeout: .seconds(5))
            if response.isAccepted { return .ok }
            return response.advice.isTokenInvalid ? .gone : .badGateway
        } catch {
            // After `ambiguous`, a repeated push may be a duplicate.
            return error.disposition == .ambiguous ? .gatewayTimeout : .serviceUnavailable
        }
    }
    return Application(
        router: router, configuration: ApplicationConfiguration(address: address),
        // Services stop in reverse order: first the server, then the client.
        services: [client], onServerRunning: onServerRunning)
}
// snippet end
