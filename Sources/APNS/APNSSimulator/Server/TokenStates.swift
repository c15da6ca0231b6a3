import APNSWire

/// The state of a device token at APNs. A token without a state is valid.
public enum SimulatedTokenState: Sendable, Equatable {
    /// 410 Unregistered: the app was uninstalled. The time is in UNIX milliseconds.
    case unregistered(at: Int64)
    /// 410 ExpiredToken. The time is in UNIX milliseconds.
    case expired(at: Int64)
    /// 400 BadDeviceToken: malformed, or issued for the other environment.
    case bad
    /// 400 DeviceTokenNotForTopic: the token belongs to another app.
    case otherTopic

    var simulatedResponse: SimulatedResponse {
        switch self {
        case .unregistered(let time): SimulatedResponse(status: 410, reason: "Unregistered", timestamp: time)
        case .expired(let time): SimulatedResponse(status: 410, reason: "ExpiredToken", timestamp: time)
        case .bad: .refused(.badDeviceToken)
        case .otherTopic: .refused(.deviceTokenNotForTopic)
        }
    }

    var reason: APNSReason {
        switch self {
        case .unregistered: .unregistered
        case .expired: .expiredToken
        case .bad: .badDeviceToken
        case .otherTopic: .deviceTokenNotForTopic
        }
    }
}

/// Gives a state to all matching tokens that have no state of their own.
public struct TokenRule: Sendable, Equatable {
    /// The largest number of rules in a document.
    public static let rulesMax = 100

    public var pattern: TokenPattern
    public var state: SimulatedTokenState

    public init(_ pattern: TokenPattern, _ state: SimulatedTokenState) {
        self.pattern = pattern
        self.state = state
    }

    /// Reads a list of `{pattern: "*0", state: unregistered, timestamp: 1700000000000}`.
    ///
    /// - Parameter now: The default timestamp, in UNIX milliseconds.
    static func rules(_ reader: DocumentReader, now: Int64) -> [TokenRule] {
        reader.elements(countMax: rulesMax).compactMap { element in
            guard let members = element.members() else { return nil }
            if !members.has("pattern") { element.report("\(element.name) has no \"pattern\"") }
            let pattern = members("pattern")?.tokenPattern()
            let state = SimulatedTokenState.read(members, now: now)
            members.finish()
            guard let pattern, let state else { return nil }
            return TokenRule(pattern, state)
        }
    }
}

extension SimulatedTokenState {
    /// A token state, and the delay until it takes effect. APNs deliberately reports an uninstall late.
    struct Document {
        var state: SimulatedTokenState
        var delay: Duration
    }

    /// Reads `{"state": "unregistered" | "expired" | "bad" | "other-topic", "timestamp": ms, "after": "5s"}`.
    ///
    /// - Parameter now: The default timestamp, in UNIX milliseconds.
    static func document(_ bytes: [UInt8], now: Int64) throws(ControlDocumentError) -> Document {
        try DocumentReader.read(bytes) { reader in
            guard let members = reader.members() else { return Document(state: .bad, delay: .zero) }
            let delay = members("after")?.duration() ?? .zero
            let state = read(members, now: now)
            members.finish()
            return Document(state: state ?? .bad, delay: delay)
        }
    }

    fileprivate static func read(_ members: MemberReader, now: Int64) -> SimulatedTokenState? {
        let timestamp = members("timestamp")?.integer(0...Int64.max) ?? now
        guard let state = members("state") else {
            members.reader.report("\(members.reader.name) has no \"state\"")
            return nil
        }
        return state.choice([
            ("unregistered", .unregistered(at: timestamp)), ("expired", .expired(at: timestamp)), ("bad", .bad),
            ("other-environment", .bad), ("other-topic", .otherTopic),
        ])
    }
}
