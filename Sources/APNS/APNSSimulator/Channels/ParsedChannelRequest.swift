import APNSWire
import JSONText

/// A channel management request or broadcast: its operation and app, or the reason to refuse it.
///
/// Source: section 8 of the protocol notes: Apple, "Sending channel management requests to APNs" and "Sending broadcast
/// push notification requests to APNs"; the order of checks is that of APNSwift's test server (issue 254).
struct ParsedChannelRequest {
    enum Operation: Equatable {
        case create
        case read
        case delete
        case list
        case broadcast
    }

    struct Refusal: Error {
        var reason: ChannelReason

        init(_ reason: ChannelReason) {
            self.reason = reason
        }
    }

    let operation: Operation
    let bundleID: String

    /// The largest body of a broadcast (Apple).
    static let payloadBytesMax = 5120
    /// The suffix of a Live Activity's topic. The path must name the bundle ID without it (Apple).
    private static let suffix = ".push-type.liveactivity"

    /// - Parameter port: The port that received the request; channel management and broadcasts have separate ones.
    init(path: String, method: String, port: SimulatorConnection.Port) throws(Refusal) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        switch (port, parts.count) {
        case (.pushes, 5) where parts[1...3] == ["4", "broadcasts", "apps"]:
            guard method == "POST" else { throw Refusal(.methodNotAllowed) }
            operation = .broadcast
            bundleID = parts[4]
        case (.channelManagement, 5) where parts[1...2] == ["1", "apps"] && parts[4] == "channels":
            switch method {
            case "POST": operation = .create
            case "GET": operation = .read
            case "DELETE": operation = .delete
            default: throw Refusal(.methodNotAllowed)
            }
            bundleID = parts[3]
        case (.channelManagement, 5) where parts[1...2] == ["1", "apps"] && parts[4] == "all-channels":
            guard method == "GET" else { throw Refusal(.methodNotAllowed) }
            operation = .list
            bundleID = parts[3]
        default: throw Refusal(.badPath)
        }
        guard !bundleID.isEmpty else { throw Refusal(.badPath) }
    }

    /// The reason that these APIs report for an invalid provider token; nil if the token is valid.
    static func authenticationReason(_ problems: ReasonSet) -> ChannelReason? {
        let reasons: [(APNSReason, ChannelReason)] = [
            (.missingProviderToken, .missingProviderToken), (.invalidProviderToken, .invalidProviderToken),
            (.badEnvironmentKeyIdInToken, .invalidProviderToken), (.badEnvironmentKeyInToken, .invalidProviderToken),
            (.unrelatedKeyIdInToken, .invalidProviderToken), (.expiredProviderToken, .expiredProviderToken),
            (.tooManyProviderTokenUpdates, .tooManyProviderTokenUpdates),
        ]
        return reasons.first { problems.contains($0.0) }?.1
    }

    /// Checks that the client may send requests for this app.
    ///
    /// - Parameters:
    ///   - allowed: The bundle IDs that the simulator serves; nil for any.
    ///   - covered: The topics of the token's key or the certificate; nil for any.
    ///   - enabled: The bundle IDs that may broadcast; nil for any.
    func checkTopic(allowed: Set<String>?, covered: Set<String>?, enabled: Set<String>?) throws(Refusal) {
        if bundleID.hasSuffix(Self.suffix) { throw Refusal(.topicDisallowed) }
        if let allowed, !allowed.contains(bundleID) { throw Refusal(.topicDisallowed) }
        if let covered, !covered.contains(bundleID), !covered.contains(bundleID + Self.suffix) {
            throw Refusal(.topicMismatch)
        }
        if let enabled, !enabled.contains(bundleID) { throw Refusal(.featureNotEnabled) }
    }

    static func channelID(_ text: String?) throws(Refusal) -> String {
        guard let text, !text.isEmpty else { throw Refusal(.missingChannelID) }
        guard ChannelStore.isBase64(text) else { throw Refusal(.badChannelID) }
        return text
    }

    /// Parses the body of a creation request.
    ///
    /// - Returns: The storage policy, 0 or 1.
    static func creation(_ body: [UInt8]) throws(Refusal) -> Int {
        guard !body.isEmpty else { throw Refusal(.payloadEmpty) }
        guard let members = members(of: body) else { throw Refusal(.badRequestPayload) }
        guard Set(members.keys).isSubset(of: ["message-storage-policy", "push-type"]) else {
            throw Refusal(.badRequestParams)
        }
        guard let type = members["push-type"] else { throw Refusal(.missingPushType) }
        guard type == "\"LiveActivity\"" else { throw Refusal(.invalidPushType) }
        switch members["message-storage-policy"] {
        case "0": return 0
        case "1": return 1
        default: throw Refusal(.badRequestParams)
        }
    }

    /// The members of a JSON object, each with the text of its value; nil if `body` is not a JSON object.
    private static func members(of body: [UInt8]) -> [String: String]? {
        body.withUnsafeBytes { bytes -> [String: String]? in
            var reader = JSONReader(bytes)
            var members: [String: String] = [:]
            guard (try? reader.enterObject()) != nil else { return nil }
            do {
                var isFirst = true
                while let key = try reader.nextKey(isFirst: isFirst) {
                    isFirst = false
                    let range = try reader.skipValue()
                    members[reader.text(key)] = String(
                        decoding: UnsafeRawBufferPointer(rebasing: bytes[range]), as: UTF8.self)
                }
                try reader.finish()
                return members
            } catch {
                return nil
            }
        }
    }

    /// Checks the header fields of a broadcast, then its channel and size.
    static func checkBroadcast(_ request: IncomingRequest, _ channel: SimulatedChannel?) throws(Refusal) {
        guard request.hasPushType else { throw Refusal(.missingPushType) }
        guard request.pushType == .liveactivity else { throw Refusal(.invalidPushType) }
        if request.problems.contains(.badExpirationDate) { throw Refusal(.badExpirationDate) }
        // A channel with storage policy 0 stores nothing, so the expiration must be 0.
        if let channel, channel.storagePolicy == 0, request.expiration ?? 0 != 0 { throw Refusal(.badExpirationDate) }
        if request.problems.contains(.badPriority) { throw Refusal(.badPriority) }
        if request.problems.contains(.badMessageId) { throw Refusal(.badMessageID) }
        if channel == nil { throw Refusal(.channelNotRegistered) }
        if request.payloadBytes == 0 { throw Refusal(.payloadEmpty) }
        if request.payloadBytes > payloadBytesMax { throw Refusal(.payloadTooLarge) }
    }
}
