import APNSKit
import APNSWire

/// Starts a Live Activity on a device, updates it and ends it.
public enum MatchActivity {
    /// The app's `ActivityAttributes`; `Score` is its `ContentState`.
    struct MatchAttributes: Encodable {
        var home: String
        var guest: String
    }

    struct Score: Encodable {
        var home: Int
        var guest: Int
    }

    /// - Parameters:
    ///   - startToken: the push-to-start token of the app on the device.
    ///   - updateToken: the token of the activity, which the app reports once the activity has started.
    ///   - now: of two updates, the device shows the one with the later timestamp.
    /// - Returns: the answers to start, update and end.
    public static func run(
        _ settings: Settings, startToken: DeviceToken, updateToken: DeviceToken, now: UNIXTime
    ) async throws -> [APNSResponse] {
        let client = try settings.client(try settings.credential())
        let contents = try contents(now: now)
        var responses: [APNSResponse] = []
        do {
            for (content, token) in zip(contents, [startToken, updateToken, updateToken]) {
                responses.append(try await client.send(try push(content, to: token, settings, now: now)))
            }
        } catch {
            await client.shutdown()
            throw error
        }
        await client.shutdown()
        return responses
    }

    // snippet: contents
    static func contents(now: UNIXTime) throws(PayloadError) -> [LiveActivityContent] {
        [
            try .start(
                attributesType: "MatchAttributes", attributes: MatchAttributes(home: "Ajax", guest: "Bohemians"),
                contentState: Score(home: 0, guest: 0), timestamp: now
            ),
            try .update(
                contentState: Score(home: 1, guest: 0), timestamp: now + .seconds(1), staleDate: now + .seconds(3600)),
            // Without a dismissal date the card stays for up to four hours.
            try .end(
                contentState: Score(home: 1, guest: 0), timestamp: now + .seconds(2), dismissalDate: now + .seconds(900)
            ),
        ]
    }

    static func push(
        _ content: LiveActivityContent, to token: DeviceToken, _ settings: Settings, now: UNIXTime
    ) throws(PayloadError) -> APNSNotification {
        var payload = APNSPayload()
        payload.aps.liveActivity = content
        // Announce the start. Frequent updates are better silent and of low priority.
        if content.event == .start { payload.aps.alert = Alert(title: "Kick-off", body: "Ajax – Bohemians") }
        return try APNSNotification(
            deviceToken: token, bundleID: settings.bundleID, pushType: .liveactivity, payload: payload,
            priority: content.event == .update ? .conserving : .immediate,
            expiration: .at(now + .seconds(3600))
        )
    }
    // snippet end
}
