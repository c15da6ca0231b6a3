import APNSKit
import APNSWire

/// Creates a broadcast channel, publishes to it, lists the app's channels and deletes it.
public enum MatchChannel {
    struct Score: Encodable {
        var home: Int
        var guest: Int
    }

    public struct Result: Equatable, Sendable {
        public var channel: ChannelID
        public var listed: [ChannelID]
    }

    public static func run(_ settings: Settings, now: UNIXTime) async throws -> Result {
        let channels = try settings.channelClient(try settings.credential())
        do {
            let result = try await broadcast(channels, bundleID: settings.bundleID, now: now)
            await channels.shutdown()
            return result
        } catch {
            await channels.shutdown()
            throw error
        }
    }

    // snippet: broadcast
    static func broadcast(_ channels: APNSChannelClient, bundleID: String, now: UNIXTime) async throws -> Result {
        // Store the ID with your match: APNs returns it once, and lists contain no names.
        let channel = try await channels.create(bundleID: bundleID, policy: .none)
        var payload = APNSPayload()
        payload.aps.liveActivity = try .update(contentState: Score(home: 1, guest: 0), timestamp: now)
        try await channels.publish(payload, to: channel, bundleID: bundleID, policy: ChannelStoragePolicy.none)
        let listed = try await channels.list(bundleID: bundleID)
        // An app may have 10,000 channels, and APNs deletes none automatically.
        try await channels.delete(channel, bundleID: bundleID)
        return Result(channel: channel, listed: listed)
    }
    // snippet end
}
