import APNSWire

/// What APNs would know of a token. Tokens without a state are good.
public enum SimulatedTokenState: Sendable, Equatable {
    /// 410 Unregistered: the app was removed. UNIX milliseconds.
    case unregistered(at: Int64)
    /// 410 ExpiredToken. UNIX milliseconds.
    case expired(at: Int64)
    /// 400 BadDeviceToken: not a token of this environment.
    case bad
    /// 400 DeviceTokenNotForTopic.
    case otherTopic

    var answer: Answer {
        switch self {
        case .unregistered(let time): Answer(status: 410, reason: "Unregistered", timestamp: time)
        case .expired(let time): Answer(status: 410, reason: "ExpiredToken", timestamp: time)
        case .bad: .refused(.badDeviceToken)
        case .otherTopic: .refused(.deviceTokenNotForTopic)
        }
    }
}
