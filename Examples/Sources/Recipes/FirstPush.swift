// snippet: first-push
import APNSKit
import APNSWire
import NIOPosix

/// Sends one alert to one device over Apple's sandbox.
func sendFirstPush(to token: DeviceToken) async throws {
    let key = try ProviderTokenKey(file: "AuthKey_ABC123DEFG.p8", keyID: "ABC123DEFG", teamID: "DEF123GHIJ")
    let client = try APNSClient(
        configuration: APNSClientConfiguration(endpoint: .sandbox, credential: .token(ProviderTokenSource(key: key))),
        eventLoopGroup: .singletonMultiThreadedEventLoopGroup
    )
    let push = try APNSNotification.alert(
        Alert(title: "Tea", body: "is ready"), to: token, bundleID: "com.example.app")
    do throws(APNSSendError) {
        let response = try await client.send(push)
        print(response.isAccepted ? "accepted" : "\(response.advice.meaning): \(response.advice.action)")
    } catch {
        print(error)
    }
    await client.shutdown()
}
// snippet end
