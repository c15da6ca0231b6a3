/// One push as a value, for those who do not send in batches.
public struct APNSNotification: Sendable, Equatable {
    public var deviceToken: DeviceToken
    public var headers: NotificationHeaders
    /// Until when APNs stores the push.
    public var expiration: Expiration
    /// Keep it when the push is sent again.
    public var id: APNSID
    /// JSON in UTF-8, at most 65,535 bytes here; APNs takes 4,096 of most types.
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

    /// A push with the topic and the priority that its type asks for.
    ///
    /// - Parameters:
    ///   - bundleID: without suffix; for `mdm` the topic itself.
    ///   - priority: nil for `PushType.defaultPriority`.
    /// - Throws: `tooLarge` when the payload is larger than APNs takes it for this type, `notFinite`.
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

    /// A push that the user sees, as the type `alert`.
    public static func alert(
        _ alert: Alert, sound: AlertSound? = nil, badge: Int? = nil, to deviceToken: DeviceToken, bundleID: String
    ) throws(PayloadError) -> APNSNotification {
        try APNSNotification(
            deviceToken: deviceToken, bundleID: bundleID, pushType: .alert,
            payload: APNSPayload(alert: alert, sound: sound, badge: badge)
        )
    }

    /// A push for a call: APNs tries once and stores nothing, so that no call rings when it is over.
    public static func voip(
        _ payload: APNSPayload, to deviceToken: DeviceToken, bundleID: String
    ) throws(PayloadError) -> APNSNotification {
        try APNSNotification(
            deviceToken: deviceToken, bundleID: bundleID, pushType: .voip, payload: payload, expiration: .immediate)
    }

    /// A push for a Push to Talk channel, tried once, as Apple recommends.
    public static func pushToTalk(
        _ payload: APNSPayload, to deviceToken: DeviceToken, bundleID: String
    ) throws(PayloadError) -> APNSNotification {
        try APNSNotification(
            deviceToken: deviceToken, bundleID: bundleID, pushType: .pushtotalk, payload: payload,
            expiration: .immediate)
    }

    /// The notification as a batch of its own.
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
    /// Names the push without its payload and with a shortened token.
    public var description: String { "\(headers.pushType) push \(id) to \(deviceToken)" }
    public var debugDescription: String { description }
}

/// What APNs said to one notification.
public struct APNSResponse: Sendable, Equatable {
    public var id: APNSID
    /// HTTP status; 200 when APNs took the push.
    public var status: UInt16
    public var reason: APNSReason
    /// The text of a reason that `APNSReason` does not know.
    public var unknownReason: String?
    /// The `timestamp` of a 410: since when APNs knows that the token is invalid for the topic.
    public var tokenInvalidAt: UNIXTime?
    /// `Retry-After`, if the server sent it.
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

/// There is no answer to a notification.
public struct APNSSendError: Error, Equatable, CustomStringConvertible {
    /// How far it got. Only after `ambiguous` may APNs have the push.
    public var disposition: APNSAnswer.Disposition
    public var failure: APNSAnswer.Failure
    /// What APNs said when it ended the connection, if it did.
    public var reason: APNSReason
    /// False when sending the same again cannot help.
    public var canRetry: Bool

    public init(_ answer: APNSAnswer) {
        disposition = answer.disposition
        failure = answer.failure
        reason = answer.reason
        canRetry = true
    }

    /// More than a batch can hold: 65,535 bytes.
    public static let payloadTooLarge: APNSSendError = {
        var error = APNSSendError(.failed(.none, .neverWritten))
        error.canRetry = false
        return error
    }()

    public var description: String {
        guard canRetry else { return "the payload is larger than 65,535 bytes" }
        let said = reason == .none ? "" : ", \(reason)"
        return "no answer from APNs: \(failure.meaning)\(said); \(disposition.meaning)"
    }
}
