import APNSWire

/// The behaviour of the simulated APNs towards connections and requests. Settings can change while the simulator runs.
///
/// `docs/simulator/README.md` states for each setting whether Apple documents the behaviour or it was only observed.
public struct SimulatorSettings: Sendable, Equatable {
    /// The response to a stream over the announced limit.
    public enum OverLimit: String, Sendable, CaseIterable {
        /// RST_STREAM REFUSED_STREAM.
        case refuse
        /// GOAWAY 7 with plain text (observed in 2016). RST_STREAM if the client has not yet acknowledged the limit.
        case goAway = "goaway"
    }

    /// The order of checks of a request, which decides the reported reason. Apple documents none.
    public enum ValidationOrder: String, Sendable, CaseIterable {
        /// Authentication, then header fields, then the body and the token's state.
        case authenticationFirst = "authentication-first"
        /// As in Pushy's mock server: header fields, the token and its state, authentication, the body.
        case tokenFirst = "token-first"
    }

    /// A number of events per period.
    public struct Rate: Sendable, Equatable {
        public var count: Int
        public var period: Duration

        public init(_ count: Int, per period: Duration) {
            self.count = count
            self.period = period
        }
    }

    // MARK: Streams

    /// Concurrent streams on a connection before its first valid token. APNs: 1 (Apple, "Sending notification requests
    /// to APNs"). A connection with a client certificate starts with `streamsMax`.
    public var streamsBeforeAuthentication: UInt32 = 1
    /// Concurrent streams after the first valid token. APNs: typically 1,000 (observed, 2021 to 2026).
    public var streamsMax: UInt32 = 1000
    public var overLimit = OverLimit.refuse
    /// Whether a refusal other than 410 lowers the limit to 1 until the next 200 (observed, 2016 and 2020).
    public var dropsToOneStream = false
    /// Whether ExpiredProviderToken lowers the limit to 1, refuses the streams in flight with RST_STREAM 7, and makes
    /// every later request on the connection get 500 InternalServerError (observed).
    public var wedgesOnExpiredToken = false

    // MARK: Connections

    /// Errors on a connection before GOAWAY; nil for no limit. A 410 does not count.
    public var errorBudget: Int?
    /// The weight of a BadDeviceToken in the error budget; other errors count 1.
    public var badTokenWeight = 5
    /// The rate of new connections. Connections beyond it are reset; nil for no limit.
    public var connectionRate: Rate?
    /// How long all new connections are reset after the rate was exceeded.
    public var connectionPenalty: Duration = .seconds(10)
    /// Concurrent connections; more are reset. nil for no limit.
    public var connectionsMax: Int?
    /// The time without requests before GOAWAY IdleTimeout; nil: never.
    public var idleTimeout: Duration?
    /// The age at which a connection gets GOAWAY; nil: never.
    public var connectionAgeMax: Duration?
    /// Whether clients that did not negotiate `h2` by ALPN are served.
    public var acceptsPriorKnowledge = true

    // MARK: Latency

    /// The round-trip time. Half of it delays all bytes in each direction, in order.
    public var latency: Duration = .zero
    /// The largest random delay added to each round trip.
    public var jitter: Duration = .zero
    /// The processing time of the server per push.
    public var answerDelay: Duration = .zero

    // MARK: Requests

    public var validationOrder = ValidationOrder.authenticationFirst
    /// The rate of pushes to one device token. Pushes beyond it get 429 TooManyRequests; nil for no limit.
    public var requestsPerToken: Rate?
    /// Whether a second provider token within 20 minutes gets 429 TooManyProviderTokenUpdates.
    public var limitsTokenUpdates = true
    /// Whether a key of the other environment gets the reason `BadEnvironmentKeyInToken` (observed in 2025) instead of
    /// the documented `BadEnvironmentKeyIdInToken`.
    public var usesShortEnvironmentReason = false
    /// Whether `apns-id` is sent in upper case (observed in 2021).
    public var usesUpperCaseIDs = false
    /// Whether responses have an `apns-unique-id` header; nil: in the sandbox only, as at APNs.
    public var sendsUniqueIDs: Bool?

    // MARK: Channels

    /// Broadcast channels per app. APNs: 10,000.
    public var channelsMax = 10_000
    /// Bundle IDs that may broadcast; nil for all.
    public var broadcastTopics: Set<String>?

    public init() {}

    /// Every problem of the settings; empty if they are valid.
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
