import APNSWire
import Synchronization

/// The connection state needed to validate a request.
///
/// It caches the last lookups: consecutive requests are alike, so most checks cost one comparison of bytes.
struct ConnectionContext {
    private(set) var authentication = ConnectionAuthentication()
    /// UNIX milliseconds, updated once per read.
    var now: Int64 = 0
    /// The client's verified certificate. If it is set, provider tokens are ignored.
    var certificate: ProviderCertificate? {
        didSet { lastAllowed = nil }
    }
    var settings: SimulatorSettings

    private let verifier: ProviderTokenVerifier
    private let topics: TopicTable
    private var lastTopic: (bytes: [UInt8], index: UInt16) = ([], 0)
    private var lastAllowed: (topic: UInt16, pushType: PushType?, isAllowed: Bool)?

    init(verifier: ProviderTokenVerifier, topics: TopicTable, settings: SimulatorSettings) {
        self.settings = settings
        self.verifier = verifier
        self.topics = topics
    }

    var isAuthenticated: Bool { certificate != nil || authentication.isAuthenticated }

    mutating func authenticate(_ authorization: UnsafeRawBufferPointer) -> APNSReason? {
        guard certificate == nil else { return nil }
        let keyID = authentication.current?.keyID
        let reason = authentication.check(
            authorization, now: now / 1000, verifier: verifier, limitsUpdates: settings.limitsTokenUpdates
        )
        if authentication.current?.keyID != keyID { lastAllowed = nil }
        if reason == .badEnvironmentKeyIdInToken, settings.usesShortEnvironmentReason {
            return .badEnvironmentKeyInToken
        }
        return reason
    }

    /// The topic of a push without `apns-topic`: that of the certificate, if it lists exactly one. 0 if there is none.
    mutating func defaultTopicIndex() -> UInt16 {
        guard let certificate, certificate.topics.count == 1 else { return 0 }
        return topics.index(of: Array(certificate.topics[0].utf8))
    }

    mutating func topicIndex(of name: UnsafeRawBufferPointer) -> UInt16 {
        if name.equals(lastTopic.bytes) { return lastTopic.index }
        let bytes = Array(name)
        lastTopic = (bytes, topics.index(of: bytes))
        return lastTopic.index
    }

    /// Whether the topic is allowed on this connection. Caches the last result.
    mutating func checkTopic(_ topic: UInt16, _ pushType: PushType?) -> Bool {
        if let last = lastAllowed, last.topic == topic, last.pushType == pushType { return last.isAllowed }
        let isAllowed =
            (certificate?.topics.contains(topics.name(of: topic)) ?? true)
            && topics.isAllowed(topic, pushType, key: certificate == nil ? authentication.current?.key : nil)
        lastAllowed = (topic, pushType, isAllowed)
        return isAllowed
    }
}

/// Maps topic names to small indexes.
final class TopicTable: Sendable {
    /// The largest number of distinct topics. All further ones share the name `(other)`.
    static let countMax = 10_000

    private struct Names {
        var indexes: [[UInt8]: UInt16] = [:]
        var names = [""]
    }

    private let names = Mutex(Names())
    private let allowed: Set<String>?

    init(allowed: Set<String>?) {
        self.allowed = allowed
    }

    /// The topic's index; 0 for the empty topic. Adds unknown topics.
    func index(of topic: [UInt8]) -> UInt16 {
        if topic.isEmpty { return 0 }
        return names.withLock { table in
            if let index = table.indexes[topic] { return index }
            let isFull = table.names.count > Self.countMax
            let name = isFull ? "(other)" : String(decoding: topic, as: UTF8.self)
            if isFull, table.names.last == name { return UInt16(table.names.count - 1) }
            table.names.append(name)
            let index = UInt16(table.names.count - 1)
            if !isFull { table.indexes[topic] = index }
            return index
        }
    }

    func name(of index: UInt16) -> String { names.withLock { $0.names[Int(index)] } }

    /// Whether the topic is a permitted bundle ID plus the suffix of the push type. Without a push type, any suffix
    /// matches.
    func isAllowed(_ index: UInt16, _ pushType: PushType?, key: SimulatorSigningKey?) -> Bool {
        if allowed == nil, key?.topics == nil { return true }
        let topic = name(of: index)
        let suffixes = pushType.map { [$0.topicSuffix] } ?? PushType.allCases.map(\.topicSuffix)
        return suffixes.contains { suffix in
            guard topic.hasSuffix(suffix) else { return false }
            let bundleID = String(topic.dropLast(suffix.count))
            return allowed?.contains(bundleID) ?? true && key?.topics?.contains(bundleID) ?? true
        }
    }
}
