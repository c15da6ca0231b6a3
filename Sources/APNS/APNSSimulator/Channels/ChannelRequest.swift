import APNSWire
import JSONText

/// A request about channels, read from what arrived; what it asks for, or why it is refused.
///
/// Source: section 8 of the protocol notes: Apple, "Sending channel management requests to APNs" and "Sending broadcast
/// push notification requests to APNs"; the order of checks is that of APNSwift's test server (issue 254).
struct ChannelRequest {
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

    /// Largest body of a broadcast (Apple).
    static let payloadBytesMax = 5120
    /// A Live Activity's topic ends so, and the path must not (Apple).
    private static let suffix = ".push-type.liveactivity"

    /// - Parameter port: management and broadcasts live on ports of their own.
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

    /// Who asks: the reason that the provider token's fault has on these APIs.
    static func authenticationReason(_ problems: ReasonSet) -> ChannelReason? {
        let reasons: [(APNSReason, ChannelReason)] = [
            (.missingProviderToken, .missingProviderToken), (.invalidProviderToken, .invalidProviderToken),
            (.badEnvironmentKeyIdInToken, .invalidProviderToken), (.badEnvironmentKeyInToken, .invalidProviderToken),
            (.unrelatedKeyIdInToken, .invalidProviderToken), (.expiredProviderToken, .expiredProviderToken),
            (.tooManyProviderTokenUpdates, .tooManyProviderTokenUpdates),
        ]
        return reasons.first { problems.contains($0.0) }?.1
    }

    /// Whether the app may be asked about at all.
    ///
    /// - Parameters:
    ///   - allowed: bundle IDs of this APNs; nil for any.
    ///   - covered: those the token or certificate is for; nil for any.
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

    /// - Returns: the storage policy.
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

    /// The members of a JSON object, each with its value as it was written.
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

    /// What the header fields of a broadcast say, before the body is looked at.
    static func checkBroadcast(_ request: IncomingRequest, _ channel: SimulatedChannel?) throws(Refusal) {
        guard request.hasPushType else { throw Refusal(.missingPushType) }
        guard request.pushType == .liveactivity else { throw Refusal(.invalidPushType) }
        if request.problems.contains(.badExpirationDate) { throw Refusal(.badExpirationDate) }
        // Nothing can be stored on a channel that stores nothing.
        if let channel, channel.storagePolicy == 0, request.expiration ?? 0 != 0 { throw Refusal(.badExpirationDate) }
        if request.problems.contains(.badPriority) { throw Refusal(.badPriority) }
        if request.problems.contains(.badMessageId) { throw Refusal(.badMessageID) }
        if channel == nil { throw Refusal(.channelNotRegistered) }
        if request.payloadBytes == 0 { throw Refusal(.payloadEmpty) }
        if request.payloadBytes > payloadBytesMax { throw Refusal(.payloadTooLarge) }
    }
}
