/// The ID of a broadcast channel of one app in one environment: random bytes in base64.
///
/// Apple does not document the length.
public struct ChannelID: Hashable, Sendable {
    /// The value of `apns-channel-id`, unchanged.
    public let text: String

    /// The longest ID in bytes that is accepted from a peer. IDs made by APNs have a few dozen bytes.
    public static let lengthMax = 256

    /// Accepts 1 to `lengthMax` bytes of base64 in either alphabet, with or without padding; nil for any other text.
    ///
    /// Deliberately lenient: an ID made by APNs must never be rejected for its form.
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

/// Which messages a channel stores for devices that are offline. Fixed when the channel is created.
public enum ChannelStoragePolicy: UInt8, Sendable, CaseIterable, Hashable {
    /// Stores no message and allows a higher publishing rate, for example for sports scores.
    case none = 0
    /// Stores the newest message for at most eight hours, for example for flight status.
    case newest = 1

    /// Whether APNs accepts this expiration.
    ///
    /// A channel without storage requires `immediate`; APNs answers any other value with BadExpirationDate.
    public func accepts(_ expiration: Expiration) -> Bool { self == .newest || expiration.headerValue == 0 }
}
