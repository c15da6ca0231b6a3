import JSONText

/// One request about broadcast channels: what to write, without any networking.
///
/// The credential is added by the connection: `authorization: bearer …`, unless a certificate speaks for it. Source:
/// Apple, "Sending channel management requests to APNs" and "Sending broadcast push notification requests to APNs", read
/// 2026-11-23; APNSwift issues 247 and 254, node-apn 6.4.1.
public struct ChannelRequest: Sendable, Equatable {
    /// What is asked for.
    public enum Operation: Sendable, CaseIterable, Hashable {
        case create, read, delete, list, publish

        /// The status of success; every other one is a refusal.
        public var successStatus: UInt16 {
            switch self {
            case .create: 201
            case .delete: 204
            case .read, .list, .publish: 200
            }
        }
    }

    /// A field of the header, of a request or of an answer.
    public struct HeaderField: Sendable, Hashable {
        /// Lower case.
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
    /// Without pseudo-header fields and `authorization`.
    public let headers: [HeaderField]
    /// nil: the request ends with its header fields, as reading, listing and deleting must.
    public let body: [UInt8]?
    /// APNs echoes it as `apns-request-id`.
    public let requestID: APNSID

    /// Creates a channel for Live Activities; answered by `ChannelResponse.Disposition.created`.
    public static func create(
        bundleID: String, policy: ChannelStoragePolicy, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        var writer = ObjectWriter()
        writer.write("message-storage-policy", policy.rawValue)
        writer.write("push-type", "LiveActivity")
        return ChannelRequest(
            .create, "POST", try channels(of: bundleID), [], body: writer.finish(), requestID: requestID)
    }

    /// Reads how a channel was created; answered by `described`.
    public static func read(
        bundleID: String, channel: ChannelID, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        ChannelRequest(.read, "GET", try channels(of: bundleID), [field(of: channel)], requestID: requestID)
    }

    /// Deletes a channel for good; answered by `deleted`. What it has stored may still be delivered.
    public static func delete(
        bundleID: String, channel: ChannelID, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        ChannelRequest(.delete, "DELETE", try channels(of: bundleID), [field(of: channel)], requestID: requestID)
    }

    /// Lists all channels of an app; answered by `listed`.
    public static func list(
        bundleID: String, requestID: APNSID = .random()
    ) throws(ChannelRequestError) -> ChannelRequest {
        let path = "/1/apps/\(try checked(bundleID))/all-channels"
        return ChannelRequest(.list, "GET", path, [], requestID: requestID)
    }

    /// Sends an update or the end of a Live Activity to all who follow a channel; answered by `published`.
    ///
    /// - Parameters:
    ///   - payload: 1 to 5,120 bytes of JSON.
    ///   - expiration: not `none`; a channel that stores nothing accepts only `immediate`.
    ///   - priority: always sent, for Apple documents no default here.
    ///   - policy: of the channel, if it is known, to find a wrong expiration before APNs does.
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

    // MARK: -

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

    /// A bundle ID goes into the path, so nothing but letters, digits, `-`, `_` and `.` may be in it. The suffix that pushes
    /// to devices need is an error here (TopicDisallowed).
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
    /// Names the request without payload and channel.
    public var description: String { "\(method) \(path) (\(requestID))" }
    public var debugDescription: String { description }
}

/// Why a request about a channel is not made.
public enum ChannelRequestError: Error, Equatable, CustomStringConvertible {
    /// Empty, too long, or of characters that no bundle ID has.
    case badBundleID
    /// The bundle ID carries the suffix of a topic.
    case topicForBundleID
    case payloadEmpty
    /// A number in it is none that JSON can hold.
    case payloadNotFinite
    /// Bytes there are.
    case payloadTooLarge(Int)
    /// Missing, negative, or not `immediate` for a channel that stores nothing.
    case expirationNotAccepted

    public var description: String {
        switch self {
        case .badBundleID: "a bundle ID has letters, digits, dots, dashes and underscores"
        case .topicForBundleID: "channels are named by the bundle ID alone, without .push-type.liveactivity"
        case .payloadEmpty: "the payload is empty"
        case .payloadNotFinite: "the payload has a number that JSON cannot hold"
        case .payloadTooLarge(let count):
            "the payload has \(count) bytes, \(APNSLimits.broadcastPayloadBytesMax) are allowed"
        case .expirationNotAccepted: "the expiration is missing, negative, or not 0 for a channel that stores nothing"
        }
    }
}
