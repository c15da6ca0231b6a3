import APNSKit
import APNSWire

/// Sends one alert and says what became of it.
public enum OnePush {
    /// What to do with the device token after an answer.
    public enum Fate: Equatable, Sendable {
        /// APNs took the push; whether and when the phone shows it, nobody tells.
        case accepted
        /// Remove the token, unless the app has registered it again since (UNIX milliseconds).
        case tokenIsDead(since: Int64?)
        /// APNs said no, and would say it again: what to put right.
        case refused(String)
        /// Send again later, under the same id: in so many seconds at least.
        case later(seconds: Int, because: String)
        /// Nobody knows whether APNs has it. Send again under the same id if twice is better than never.
        case unknown
    }

    /// - Parameter now: UNIX seconds.
    public static func run(
        _ settings: Settings, to token: DeviceToken, text: String, now: Int64
    ) async throws -> Fate {
        let client = try settings.client(try settings.credential())
        let notification = try APNSNotification.alert(
            Alert(title: "Godwit", body: text), sound: .default, to: token, bundleID: settings.bundleID
        )
        // What is wrong is cheaper to find here than at APNs.
        let mistakes = NotificationLint.findings(notification, now: now).filter { $0.severity == .error }
        guard mistakes.isEmpty else {
            await client.shutdown()
            return .refused("\(mistakes[0])")
        }
        let fate = await send(notification, with: client)
        // Waits for what is in flight, closes the connections. Once in a program's life, not once a push.
        await client.shutdown()
        return fate
    }

    // snippet: fate
    static func send(_ notification: APNSNotification, with client: APNSClient) async -> Fate {
        do throws(APNSSendError) {
            let response = try await client.send(notification)
            if response.isAccepted { return .accepted }
            let advice = response.advice
            if advice.isTokenDead { return .tokenIsDead(since: response.timestamp) }
            switch advice.retry {
            case .never, .afterFix, .notNeeded: return .refused("\(advice.meaning): \(advice.action)")
            case .later, .laterWithSameProviderToken, .newConnection, .newConnectionAndProviderToken:
                let wait = max(advice.retryDelayMin, Int(response.retryAfter ?? 1))
                return .later(seconds: wait, because: advice.meaning)
            }
        } catch {
            guard error.canRetry else { return .refused("\(error)") }
            // Never written and refused pushes are certainly not at APNs: the client has tried them again already.
            return error.outcome == .ambiguous ? .unknown : .later(seconds: 1, because: "\(error)")
        }
    }
    // snippet end
}
