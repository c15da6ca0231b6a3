import APNSWire

/// The fields of a push. Pushes with other fields are refused.
package enum PushField: String, Sendable, CaseIterable {
    case deviceToken = "device_token"
    case deviceID = "device_id"
    case deviceTokens = "device_tokens"
    case payload
    case message
    case app
    case environment
    case pushType = "push_type"
    case topic
    case priority
    case expiration
    case ttl
    case collapseID = "collapse_id"
    case notBefore = "not_before"
    case lane
    case onUnanswered = "on_unanswered"
    case timestamp

    /// Why a field of this name is refused, and what to do.
    ///
    /// - Parameter name: not the name of a field.
    static func advice(forUnknown name: String) -> String {
        let folded = String(name.lowercased().filter { $0 != "_" && $0 != "-" && $0 != " " })
        if let advice = adviceByName[folded] { return advice }
        if let intended = intended(by: name) ?? synonyms[folded] {
            return "there is no such field; did you mean \(intended.rawValue)?"
        }
        return "there is no such field; custom data belongs in the payload"
    }

    private static func intended(by name: String) -> PushField? {
        var name = name
        return name.withUTF8 { bytes in
            allCases.first { KeySpelling.isClose(UnsafeRawBufferPointer(bytes), to: $0.label) }
        }
    }

    private static let payloadAdvice =
        "there is no such field; send it in the payload, as Apple describes: {\"payload\": {\"aps\": {…}}}"

    /// By name in lower case without separators.
    private static let adviceByName = [
        "apnsid": ownID, "msgid": ownID, "messageid": ownID, "id": ownID,
        "idempotencykey": "there is no such field; send the header Idempotency-Key",
        "aps": payloadAdvice, "alert": payloadAdvice, "title": payloadAdvice, "subtitle": payloadAdvice,
        "body": payloadAdvice, "badge": payloadAdvice, "sound": payloadAdvice, "category": payloadAdvice,
    ]

    private static let ownID = """
        a push has no ID of the caller, because the gateway finds its record by the apns-id that it assigns, the msg_id of the \
        response; send the header Idempotency-Key to make a repeated request safe
        """

    private static let synonyms: [String: PushField] = [
        "token": .deviceToken, "to": .deviceToken, "tokens": .deviceTokens, "deviceids": .deviceTokens,
        "registrationids": .deviceTokens, "data": .payload, "notification": .payload, "text": .message,
        "type": .pushType, "apnspushtype": .pushType, "apnstopic": .topic, "bundleid": .topic, "env": .environment,
        "apnspriority": .priority, "apnsexpiration": .expiration, "expires": .expiration, "expiresat": .expiration,
        "timetolive": .ttl, "collapsekey": .collapseID, "apnscollapseid": .collapseID, "threadid": .payload,
        "sendat": .notBefore, "deliverat": .notBefore, "application": .app, "appid": .app,
    ]

    var label: StaticString {
        switch self {
        case .deviceToken: "device_token"
        case .deviceID: "device_id"
        case .deviceTokens: "device_tokens"
        case .payload: "payload"
        case .message: "message"
        case .app: "app"
        case .environment: "environment"
        case .pushType: "push_type"
        case .topic: "topic"
        case .priority: "priority"
        case .expiration: "expiration"
        case .ttl: "ttl"
        case .collapseID: "collapse_id"
        case .notBefore: "not_before"
        case .lane: "lane"
        case .onUnanswered: "on_unanswered"
        case .timestamp: "timestamp"
        }
    }
}
