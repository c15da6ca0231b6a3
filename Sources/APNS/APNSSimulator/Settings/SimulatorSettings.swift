import APNSWire

/// How the simulated APNs behaves towards connections and requests: the switches that can be turned while it runs.
///
/// Sources are named in `docs/simulator/README.md`, with what is documented and what is only observed.
public struct SimulatorSettings: Sendable, Equatable {
    /// What happens to a stream over the announced limit.
    public enum OverLimit: String, Sendable, CaseIterable {
        /// RST_STREAM REFUSED_STREAM.
        case refuse
        /// GOAWAY 7 with plain text, once the client has acknowledged the limit (seen in 2016); RST before that.
        case goAway = "goaway"
    }

    /// In which order the mistakes of one request are looked for. Apple documents none.
    public enum ValidationOrder: String, Sendable, CaseIterable {
        /// Who asks comes before what is asked, the token's fate and the body come last.
        case authenticationFirst = "authentication-first"
        /// As Pushy's mock server: header fields, then the token and its fate, then authentication, then the body.
        case tokenFirst = "token-first"
    }

    /// So many in so long.
    public struct Rate: Sendable, Equatable {
        public var count: Int
        public var period: Duration

        public init(_ count: Int, per period: Duration) {
            self.count = count
            self.period = period
        }
    }

    // MARK: Streams

    /// Concurrent streams a connection may have before its first valid token. APNs: 1 (Apple, "Sending notification
    /// requests to APNs"). A connection with a client certificate has `streamsMax` at once.
    public var streamsBeforeAuthentication: UInt32 = 1
    /// Concurrent streams after it. APNs: typically 1,000 (observed, 2021 to 2026).
    public var streamsMax: UInt32 = 1000
    public var overLimit = OverLimit.refuse
    /// A refusal other than 410 lowers the limit to 1, and the next 200 restores it (observed, 2016 and 2020).
    public var dropsToOneStream = false
    /// ExpiredProviderToken lowers the limit to 1, refuses the streams in flight with RST_STREAM 7, and every later
    /// request of the connection gets 500 InternalServerError (observed).
    public var wedgesOnExpiredToken = false

    // MARK: Connections

    /// Errors a connection may earn before it is ended by GOAWAY; nil for any number. 410 costs nothing.
    public var errorBudget: Int?
    /// What one BadDeviceToken costs of the budget; other errors cost 1.
    public var badTokenWeight = 5
    /// New connections beyond this rate are reset, and so are all for `connectionPenalty` after that.
    public var connectionRate: Rate?
    public var connectionPenalty: Duration = .seconds(10)
    /// More connections than this are reset at once; nil for any number.
    public var connectionsMax: Int?
    /// A connection without a request for so long ends by GOAWAY IdleTimeout; nil: never.
    public var idleTimeout: Duration?
    /// A connection this old ends by GOAWAY; nil: never.
    public var connectionAgeMax: Duration?
    /// Connections whose client did not negotiate `h2` by ALPN are served all the same.
    public var acceptsPriorKnowledge = true

    // MARK: The line

    /// The round trip between client and server: everything arrives half of it later, either way and in order.
    public var latency: Duration = .zero
    /// Up to this is added to each round trip, by chance.
    public var jitter: Duration = .zero
    /// How long the server thinks before it answers a push.
    public var answerDelay: Duration = .zero

    // MARK: Requests

    public var validationOrder = ValidationOrder.authenticationFirst
    /// Pushes to one device token beyond this rate get 429 TooManyRequests.
    public var requestsPerToken: Rate?
    /// A second provider token within 20 minutes gets 429 TooManyProviderTokenUpdates.
    public var limitsTokenUpdates = true
    /// A key of the other environment is told by `BadEnvironmentKeyInToken`, seen in 2025, not by the documented
    /// `BadEnvironmentKeyIdInToken`.
    public var usesShortEnvironmentReason = false
    /// Answers with upper-case ids, as APNs has been seen to do (2021).
    public var usesUpperCaseIDs = false
    /// Whether answers carry `apns-unique-id`; nil: in the sandbox only, as APNs does.
    public var sendsUniqueIDs: Bool?

    // MARK: Channels

    /// Channels an app may have. APNs: 10,000.
    public var channelsMax = 10_000
    /// Bundle IDs for which broadcast is enabled; nil for all.
    public var broadcastTopics: Set<String>?

    public init() {}

    /// Every problem at once.
    public func problems() -> [String] {
        var problems: [String] = []
        if !(1...1_000_000).contains(streamsMax) { problems.append("streams must be 1 to 1000000") }
        if streamsBeforeAuthentication < 1 || streamsBeforeAuthentication > streamsMax {
            problems.append("streams before authentication must be 1 to the number of streams")
        }
        if let errorBudget, errorBudget < 1 { problems.append("error budget must be at least 1") }
        if badTokenWeight < 0 { problems.append("bad token weight must not be negative") }
        if let connectionsMax, connectionsMax < 1 { problems.append("connections must be at least 1") }
        if !(1...1_000_000).contains(channelsMax) { problems.append("channels must be 1 to 1000000") }
        for (name, rate) in [("connection rate", connectionRate), ("requests per token", requestsPerToken)] {
            if let rate, rate.count < 1 || rate.period <= .zero { problems.append("\(name) must be above zero") }
        }
        let durations: [(String, Duration?)] = [
            ("latency", latency), ("jitter", jitter), ("answer delay", answerDelay), ("idle timeout", idleTimeout),
            ("connection age", connectionAgeMax), ("connection penalty", connectionPenalty),
        ]
        for (name, duration) in durations {
            if let duration, duration < .zero || duration > .seconds(86_400) {
                problems.append("\(name) must be 0 to 86400 seconds")
            }
        }
        return problems
    }
}
