import APNSWire

/// What APNs would know of a token. Tokens without a state are good.
public enum SimulatedTokenState: Sendable, Equatable {
    /// 410 Unregistered: the app was removed. UNIX milliseconds.
    case unregistered(at: Int64)
    /// 410 ExpiredToken. UNIX milliseconds.
    case expired(at: Int64)
    /// 400 BadDeviceToken: not a token, or one of the other environment.
    case bad
    /// 400 DeviceTokenNotForTopic.
    case otherTopic

    var answer: SimulatedResponse {
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

/// A state for all tokens of a pattern that have none of their own.
public struct TokenRule: Sendable, Equatable {
    public static let rulesMax = 100

    public var pattern: TokenPattern
    public var state: SimulatedTokenState

    public init(_ pattern: TokenPattern, _ state: SimulatedTokenState) {
        self.pattern = pattern
        self.state = state
    }

    /// Reads a list of `{pattern: "*0", state: unregistered, timestamp: 1700000000000}`.
    ///
    /// - Parameter now: the timestamp where there is none, in UNIX milliseconds.
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
    /// A token's state that takes effect some time later: APNs tells of an uninstall late, on purpose.
    struct Document {
        var state: SimulatedTokenState
        var delay: Duration
    }

    /// Reads `{"state": "unregistered" | "expired" | "bad" | "other-topic", "timestamp": ms, "after": "5s"}`.
    ///
    /// - Parameter now: the timestamp where the document has none, in UNIX milliseconds.
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
