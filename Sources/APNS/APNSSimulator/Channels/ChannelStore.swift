import Synchronization

/// A broadcast channel.
public struct SimulatedChannel: Sendable, Equatable {
    /// Base64.
    public var id: String
    /// 0: no message is stored for offline devices. 1: the newest message is stored.
    public var storagePolicy: Int
    /// The number of accepted broadcasts.
    public var broadcasts = 0
    /// The message stored for offline devices; nil if there is none.
    public var stored: StoredBroadcast?
}

/// The newest message of a channel, stored for offline devices.
public struct StoredBroadcast: Sendable, Equatable {
    public var payload: [UInt8]
    /// UNIX milliseconds.
    public var expiresAt: Int64
}

/// The channels of all apps.
final class ChannelStore: Sendable {
    /// Apple, "Sending channel management requests": a message is stored for at most 8 hours.
    static let storageMax: Int64 = 8 * 3600 * 1000
    /// The largest number of apps with channels.
    private static let appsMax = 1_000

    private let channels = Mutex<[String: [String: SimulatedChannel]]>([:])

    /// - Returns: The new channel's ID; nil if the app has reached its limit.
    func create(bundleID: String, storagePolicy: Int, countMax: Int) -> String? {
        channels.withLock { apps in
            guard apps[bundleID] != nil || apps.count < Self.appsMax else { return nil }
            guard apps[bundleID, default: [:]].count < countMax else { return nil }
            let random = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
            let id = Self.base64(random)
            apps[bundleID, default: [:]][id] = SimulatedChannel(id: id, storagePolicy: storagePolicy)
            return id
        }
    }

    func channel(_ id: String, of bundleID: String) -> SimulatedChannel? {
        channels.withLock { $0[bundleID]?[id] }
    }

    /// The app's channels, ordered by ID.
    func channels(of bundleID: String) -> [SimulatedChannel] {
        channels.withLock { $0[bundleID].map { $0.values.sorted { $0.id < $1.id } } ?? [] }
    }

    /// - Returns: false if there is no such channel.
    func delete(_ id: String, of bundleID: String) -> Bool {
        channels.withLock { apps in
            guard apps[bundleID]?.removeValue(forKey: id) != nil else { return false }
            if apps[bundleID]?.isEmpty == true { apps[bundleID] = nil }
            return true
        }
    }

    /// - Parameters:
    ///   - expiration: UNIX seconds from the request; nil if it has none.
    ///   - now: UNIX milliseconds.
    func broadcast(_ payload: [UInt8], to id: String, of bundleID: String, expiration: Int64?, now: Int64) {
        channels.withLock { apps in
            guard var channel = apps[bundleID]?[id] else { return }
            channel.broadcasts += 1
            let end = expiration.map { min($0, Int64.max / 1000) * 1000 } ?? .max
            if channel.storagePolicy == 1, end > now {
                channel.stored = StoredBroadcast(payload: payload, expiresAt: min(end, now + Self.storageMax))
            }
            apps[bundleID]?[id] = channel
        }
    }

    func reset() { channels.withLock { $0.removeAll() } }

    // MARK: Base64 (RFC 4648, section 4)

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func base64(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let part = bytes[start..<min(start + 3, bytes.count)]
            let bits = (0..<3).reduce(0) { $0 << 8 | (start + $1 < bytes.count ? Int(bytes[start + $1]) : 0) }
            for index in 0..<4 {
                text.append(index <= part.count ? alphabet[bits >> (18 - 6 * index) & 63] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Whether `text` is base64 of at most 128 characters.
    static func isBase64(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        let padding = bytes.reversed().prefix { $0 == UInt8(ascii: "=") }.count
        return (4...128).contains(bytes.count) && bytes.count.isMultiple(of: 4) && padding <= 2
            && bytes.dropLast(padding).allSatisfy(alphabet.contains)
    }
}
