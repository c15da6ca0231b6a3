/// One push as a value, for callers that do not send batches.
public struct APNSNotification: Sendable, Equatable {
    public var deviceToken: DeviceToken
    public var headers: NotificationHeaders
    /// How long APNs stores the push.
    public var expiration: Expiration
    /// The `apns-id`. Use the same ID when the push is sent again.
    public var id: APNSID
    /// JSON in UTF-8, at most 65,535 bytes here. APNs accepts 4,096 bytes for most push types.
    public var payload: [UInt8]

    public init(
        deviceToken: DeviceToken, headers: NotificationHeaders, payload: [UInt8], expiration: Expiration = .none,
        id: APNSID = .random()
    ) {
        self.deviceToken = deviceToken
        self.headers = headers
        self.payload = payload
        self.expiration = expiration
        self.id = id
    }

    /// A push with the topic of its type and, unless given, the default priority of its type.
    ///
    /// - Parameters:
    ///   - bundleID: without suffix; for `mdm` the topic itself.
    ///   - priority: nil for `PushType.defaultPriority`.
    /// - Throws: `tooLarge` if the payload exceeds the type's limit, `notFinite`.
    public init(
        deviceToken: DeviceToken, bundleID: String, pushType: PushType, payload: APNSPayload,
        priority: Priority? = nil, expiration: Expiration = .none, collapseID: String? = nil, id: APNSID = .random()
    ) throws(PayloadError) {
        self.init(
            deviceToken: deviceToken,
            headers: NotificationHeaders(
                topic: pushType.topic(for: bundleID), pushType: pushType,
                priority: priority ?? pushType.defaultPriority, collapseID: collapseID
            ),
            payload: try payload.encoded(bytesMax: pushType.payloadBytesMax), expiration: expiration, id: id
        )
    }

    /// A visible push, of the type `alert`.
    ///
    /// - Throws: `tooLarge`, `notFinite`.
    public static func alert(
        _ alert: Alert, sound: AlertSound? = nil, badge: Int? = nil, to deviceToken: DeviceToken, bundleID: String
    ) throws(PayloadError) -> APNSNotification {
        try APNSNotification(
            deviceToken: deviceToken, bundleID: bundleID, pushType: .alert,
            payload: APNSPayload(alert: alert, sound: sound, badge: badge)
        )
    }

    /// A push for an incoming call. APNs tries once and does not store it, so that no device rings after the call
    /// ended.
    ///
    /// - Throws: `tooLarge`, `notFinite`.
    public static func voip(
        _ payload: APNSPayload, to deviceToken: DeviceToken, bundleID: String
    ) throws(PayloadError) -> APNSNotification {
        try APNSNotification(
            deviceToken: deviceToken, bundleID: bundleID, pushType: .voip, payload: payload, expiration: .immediate)
    }

    /// A push for a Push to Talk channel. APNs tries once, as Apple recommends.
    ///
    /// - Throws: `tooLarge`, `notFinite`.
    public static func pushToTalk(
        _ payload: APNSPayload, to deviceToken: DeviceToken, bundleID: String
    ) throws(PayloadError) -> APNSNotification {
        try APNSNotification(
            deviceToken: deviceToken, bundleID: bundleID, pushType: .pushtotalk, payload: payload,
            expiration: .immediate)
    }

    /// The notification as a batch of one push.
    ///
    /// - Throws: `APNSSendError.payloadTooLarge` if the payload has more than 65,535 bytes.
    public func batch() throws(APNSSendError) -> NotificationBatch {
        guard payload.count <= Int(UInt16.max) else { throw .payloadTooLarge }
        var batch = NotificationBatch(firstID: id)
        deviceToken.bytes.withUnsafeBytes { token in
            payload.withUnsafeBytes { payload in
                batch.append(
                    token: token, payload: payload, headers: headers,
                    expiration: expiration.columnValue
                )
            }
        }
        return batch
    }
}

extension APNSNotification: CustomStringConvertible, CustomDebugStringConvertible {
    /// Push type, ID and a shortened token, without the payload.
    public var description: String { "\(headers.pushType) push \(id) to \(deviceToken)" }
    public var debugDescription: String { description }
}

/// APNs' answer to one notification.
public struct APNSResponse: Sendable, Equatable {
    public var id: APNSID
    /// HTTP status; 200 when APNs accepted the push.
    public var status: UInt16
    public var reason: APNSReason
    /// The verbatim text of a reason without a case in `APNSReason`.
    public var unknownReason: String?
    /// The `timestamp` of a 410: when APNs found that the token is no longer valid for the topic.
    public var tokenInvalidAt: UNIXTime?
    /// `Retry-After`, if the answer had one.
    public var retryAfter: Duration?

    public init(id: APNSID, answer: APNSAnswer, unknownReason: String? = nil) {
        self.id = id
        status = answer.status
        reason = answer.reason
        self.unknownReason = unknownReason
        tokenInvalidAt =
            answer.tokenInvalidAtMilliseconds == 0
            ? nil : UNIXTime(millisecondsSince1970: answer.tokenInvalidAtMilliseconds)
        retryAfter = answer.retryAfterSeconds == 0 ? nil : .seconds(answer.retryAfterSeconds)
    }

    public var isAccepted: Bool { status == 200 }
}

/// A notification got no answer from APNs.
public struct APNSSendError: Error, Equatable, CustomStringConvertible {
    /// How far the attempt got. Only after `ambiguous` may APNs have received the push.
    public var disposition: APNSAnswer.Disposition
    public var failure: APNSAnswer.Failure
    /// The reason from GOAWAY, if APNs closed the connection with one.
    public var reason: APNSReason
    /// False when sending the same push again cannot succeed.
    public var canRetry: Bool

    public init(_ answer: APNSAnswer) {
        disposition = answer.disposition
        failure = answer.failure
        reason = answer.reason
        canRetry = true
    }

    /// The payload has more than 65,535 bytes, the most that a batch holds.
    public static let payloadTooLarge: APNSSendError = {
        var error = APNSSendError(.failed(.none, .neverWritten))
        error.canRetry = false
        return error
    }()

    public var description: String {
        guard canRetry else { return "the payload is larger than 65,535 bytes" }
        let said = reason == .none ? "" : ", \(reason)"
        if failure == .notAPNs { return "no answer from APNs: \(failure.meaning)" }
        return "no answer from APNs: \(failure.meaning)\(said); \(disposition.meaning)"
    }
}
