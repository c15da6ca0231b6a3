/// Names a broadcast channel of one app in one environment: random bytes in base64, of a length Apple does not tell.
public struct ChannelID: Hashable, Sendable {
    /// As it stands in `apns-channel-id`.
    public let text: String

    /// APNs makes ids of a few dozen bytes; this bounds what is taken from a peer.
    public static let lengthMax = 256

    /// Takes base64 in either alphabet, with or without padding; nil for anything else.
    ///
    /// Not stricter on purpose: an id that APNs has made must never be lost for its form.
    public init?(_ text: some StringProtocol) {
        guard (1...Self.lengthMax).contains(text.utf8.count) else { return nil }
        var padding = 0
        for byte in text.utf8 {
            if byte == UInt8(ascii: "=") {
                padding += 1
            } else if padding > 0 || !Self.isDigit(byte) {
                return nil
            }
        }
        guard padding <= 2, padding < text.utf8.count else { return nil }
        self.text = String(text)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "-"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

extension ChannelID: CustomStringConvertible, CustomDebugStringConvertible {
    /// The first six characters.
    public var description: String { "\(text.prefix(6))…" }
    public var debugDescription: String { description }
}

/// What a channel keeps for devices that are offline; fixed when it is created.
public enum ChannelStoragePolicy: UInt8, Sendable, CaseIterable, Hashable {
    /// Nothing; allows more publishing. For scores.
    case none = 0
    /// The newest message, for eight hours at most. For flights.
    case newest = 1

    /// Whether APNs accepts this expiration: for a channel that stores nothing it must be `immediate`, otherwise APNs
    /// rejects the request with `BadExpirationDate`.
    public func accepts(_ expiration: Expiration) -> Bool { self == .newest || expiration.headerValue == 0 }
}
