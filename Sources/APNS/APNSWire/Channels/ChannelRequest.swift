import JSONText

/// One request about broadcast channels, ready to be written. Contains no networking.
///
/// The connection adds the credential: `authorization: bearer …`, or no field if it uses a certificate. Source: Apple,
/// "Sending channel management requests to APNs" and "Sending broadcast push notification requests to APNs", read
/// 2026-11-23; APNSwift issues 247 and 254, node-apn 6.4.1.
public struct ChannelRequest: Sendable, Equatable {
    /// The action that the request asks for.
    public enum Operation: Sendable, CaseIterable, Hashable {
        case create, read, delete, list, publish

        /// The HTTP status of success; every other status is a refusal.
        public var successStatus: UInt16 {
            switch self {
            case .create: 201
            case .delete: 204
            case .read, .list, .publish: 200
            }
        }
    }

    /// One header field of a request or of APNs' answer.
    public struct HeaderField: Sendable, Hashable {
        /// The field name in lower case.
        public var name: String
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    public let operation: Operation
    /// `:method`.
    public let method: String
    /// `:path`.
    public let path: String
    /// All header fields except the pseudo-header fields and `authorization`.
    public let headers: [HeaderField]
    /// The body; nil ends the request after its header fields, which read, list and delete require.
    public let body: [UInt8]?
    /// The value of `apns-request-id`, which APNs echoes.
    public let requestID: APNSID

    /// Creates a channel for Live Activities. On success the response is `created`.
    ///
    /// - Throws: `badBundleID`, `topicForBundleID`.
    public static func create(
        bundleID: String, policy: ChannelStoragePolicy, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        var writer = ObjectWriter()
        writer.write("message-storage-policy", policy.rawValue)
        writer.write("push-type", "LiveActivity")
        return ChannelRequest(
            .create, "POST", try channels(of: bundleID), [], body: writer.finish(), requestID: requestID)
    }

    /// Reads the storage policy of a channel. On success the response is `described`.
    ///
    /// - Throws: `badBundleID`, `topicForBundleID`.
    public static func read(
        bundleID: String, channel: ChannelID, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        ChannelRequest(.read, "GET", try channels(of: bundleID), [field(of: channel)], requestID: requestID)
    }

    /// Deletes a channel permanently. On success the response is `deleted`. APNs may still deliver stored messages.
    ///
    /// - Throws: `badBundleID`, `topicForBundleID`.
    public static func delete(
        bundleID: String, channel: ChannelID, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        ChannelRequest(.delete, "DELETE", try channels(of: bundleID), [field(of: channel)], requestID: requestID)
    }

    /// Lists all channels of an app. On success the response is `listed`.
    ///
    /// - Throws: `badBundleID`, `topicForBundleID`.
    public static func list(
        bundleID: String, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        let path = "/1/apps/\(try checked(bundleID))/all-channels"
        return ChannelRequest(.list, "GET", path, [], requestID: requestID)
    }

    /// Publishes an update or the end of a Live Activity to every device subscribed to a channel. On success the
    /// response is `published`.
    ///
    /// - Parameters:
    ///   - payload: 1 to 5,120 bytes of JSON.
    ///   - expiration: not `none`; a channel without storage accepts `immediate` only.
    ///   - priority: always sent, because Apple documents no default for broadcasts.
    ///   - policy: the channel's policy, if known, so that a wrong expiration fails here and not at APNs.
    /// - Throws: `badBundleID`, `topicForBundleID`, `payloadEmpty`, `payloadTooLarge`, `expirationNotAccepted`.
    public static func publish(
        bundleID: String, channel: ChannelID, payload: [UInt8], expiration: Expiration = .immediate,
        priority: Priority = .immediate,
        policy: ChannelStoragePolicy? = nil, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        guard !payload.isEmpty else { throw .payloadEmpty }
        guard payload.count <= APNSLimits.broadcastPayloadBytesMax else { throw .payloadTooLarge(payload.count) }
        guard let expirationValue = expiration.headerValue, expirationValue >= 0, policy?.accepts(expiration) ?? true
        else {
            throw .expirationNotAccepted
        }
        let fields = [
            field(of: channel),
            HeaderField("apns-push-type", PushType.liveactivity.description),
            HeaderField("apns-expiration", "\(expirationValue)"),
            HeaderField("apns-priority", "\(priority.rawValue)"),
        ]
        let path = "/4/broadcasts/apps/\(try checked(bundleID))"
        return ChannelRequest(.publish, "POST", path, fields, body: payload, requestID: requestID)
    }

    // MARK: Parts

    private init(
        _ operation: Operation, _ method: String, _ path: String, _ headers: [HeaderField], body: [UInt8]? = nil,
        requestID: APNSID
    ) {
        self.operation = operation
        self.method = method
        self.path = path
        self.headers = [HeaderField("apns-request-id", requestID.description)] + headers
        self.body = body
        self.requestID = requestID
    }

    private static func channels(of bundleID: String) throws(ChannelRequestError) -> String {
        "/1/apps/\(try checked(bundleID))/channels"
    }

    private static func field(of channel: ChannelID) -> HeaderField { HeaderField("apns-channel-id", channel.text) }

    /// Returns a bundle ID that is safe as a path component: letters, digits, `-`, `_` and `.` only.
    ///
    /// The topic suffix that pushes to devices need is an error here: APNs answers it with TopicDisallowed.
    private static func checked(_ bundleID: String) throws(ChannelRequestError) -> String {
        let isPlain = bundleID.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard isPlain, (1...255).contains(bundleID.utf8.count) else { throw .badBundleID }
        guard !bundleID.hasSuffix(PushType.liveactivity.topicSuffix) else { throw .topicForBundleID }
        return bundleID
    }
}

extension ChannelRequest: CustomStringConvertible, CustomDebugStringConvertible {
    /// Method, path and request ID, without payload and channel.
    public var description: String { "\(method) \(path) (\(requestID))" }
    public var debugDescription: String { description }
}

/// Why a channel request could not be built.
public enum ChannelRequestError: Error, Equatable, CustomStringConvertible {
    /// The bundle ID is empty, too long, or has characters outside letters, digits, `.`, `-` and `_`.
    case badBundleID
    /// The bundle ID ends in a topic suffix.
    case topicForBundleID
    /// The payload has no bytes.
    case payloadEmpty
    /// The payload has an infinity or a NaN, which JSON cannot represent.
    case payloadNotFinite
    /// The payload is larger than APNs accepts; its size in bytes.
    case payloadTooLarge(Int)
    /// The expiration is missing, negative, or not `immediate` for a channel without storage.
    case expirationNotAccepted

    public var description: String {
        switch self {
        case .badBundleID:
            "bundle ID is invalid: use 1 to 255 letters, digits, dots, dashes and underscores"
        case .topicForBundleID:
            "bundle ID ends in .push-type.liveactivity: channels use the bundle ID without a suffix"
        case .payloadEmpty: "payload is empty: send a JSON object"
        case .payloadNotFinite: "payload has an infinite number or a NaN, which JSON cannot represent"
        case .payloadTooLarge(let count):
            "payload has \(count) bytes, \(APNSLimits.broadcastPayloadBytesMax) are allowed"
        case .expirationNotAccepted:
            "expiration is not accepted: use a time, or 0 for a channel that stores no messages"
        }
    }
}
