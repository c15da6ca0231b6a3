import APNSKit
import APNSWire

/// Sends one alert and reports what to do next.
public enum OnePush {
    /// The result for one push, by what to do next.
    public enum SendResult: Equatable, Sendable {
        /// APNs accepted the push. APNs does not report whether and when the device shows it.
        case accepted
        /// Remove the token, unless the app has registered it again since.
        case tokenIsDead(since: UNIXTime?)
        /// APNs rejected the push and would reject it again; the text says what to fix.
        case refused(String)
        /// Send the push again with the same ID, after this delay at the earliest.
        case later(after: Duration, because: String)
        /// APNs may have accepted the push. Send it again with the same ID if a duplicate is better than a loss.
        case unknown
    }

    public static func run(
        _ settings: Settings, to token: DeviceToken, text: String, now: UNIXTime
    ) async throws -> SendResult {
        let client = try settings.client(try settings.credential())
        let notification = try APNSNotification.alert(
            Alert(title: "Godwit", body: text), sound: .default, to: token, bundleID: settings.bundleID
        )
        // Finds mistakes without a request to APNs.
        let mistakes = NotificationLint.findings(notification, now: now).filter { $0.severity == .error }
        guard mistakes.isEmpty else {
            await client.shutdown()
            return .refused("\(mistakes[0])")
        }
        let result = await send(notification, with: client)
        // Waits for pushes in flight and closes the connections. Do this once per process, not once per push.
        await client.shutdown()
        return result
    }

    // snippet: send-one
    static func send(_ notification: APNSNotification, with client: APNSClient) async -> SendResult {
        do throws(APNSSendError) {
            let response = try await client.send(notification)
            if response.isAccepted { return .accepted }
            let advice = response.advice
            if advice.isTokenInvalid { return .tokenIsDead(since: response.tokenInvalidAt) }
            switch advice.retry {
            case .never, .afterFix, .notNeeded: return .refused("\(advice.meaning): \(advice.action)")
            case .later, .laterWithSameProviderToken, .newConnection, .newConnectionAndProviderToken:
                let wait = max(advice.retryDelayMin, response.retryAfter ?? .seconds(1))
                return .later(after: wait, because: advice.meaning)
            }
        } catch {
            guard error.canRetry else { return .refused("\(error)") }
            // APNs has not processed pushes that were never written or refused; the client has already retried them.
            return error.disposition == .ambiguous ? .unknown : .later(after: .seconds(1), because: "\(error)")
        }
    }
    // snippet end
}
