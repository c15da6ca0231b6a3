import CNIOLinux
import Foundation
import NIOCore

/// The IP address of a client. An IPv4 address and its IPv4-mapped IPv6 form are the same value.
package struct ClientAddress: Hashable, Sendable, CustomStringConvertible {
    /// The IPv6 address, or the IPv4-mapped one.
    private let high: UInt64
    private let low: UInt64

    private init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    private static let mappedPrefix: UInt64 = 0xFFFF_0000_0000

    /// - Returns: nil for an address that is not an IP address.
    init?(_ address: SocketAddress?) {
        switch address {
        case .v4(let address): self.init(v4: UInt32(bigEndian: address.address.sin_addr.s_addr))
        case .v6(let address):
            let words = withUnsafeBytes(of: address.address.sin6_addr) {
                ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            }
            self.init(high: UInt64(bigEndian: words.0), low: UInt64(bigEndian: words.1))
        case .unixDomainSocket, nil: return nil
        }
    }

    private init(v4: UInt32) {
        self.init(high: 0, low: Self.mappedPrefix | UInt64(v4))
    }

    /// - Parameter text: `192.0.2.1`, `2001:db8::1`; without port, brackets and zone.
    package init?(_ text: some StringProtocol) {
        // The longest form has 45 characters.
        guard text.utf8.count <= 45, let address = try? SocketAddress(ipAddress: String(text), port: 0) else {
            return nil
        }
        self.init(address)
    }

    package var description: String {
        if isIPv4 { return (0..<4).map { String(low >> (24 - 8 * $0) & 0xFF) }.joined(separator: ".") }
        // 16 bytes are an address.
        return (try? SocketAddress(packedIPAddress: ByteBuffer(bytes: bytes), port: 0))?.ipAddress ?? ""
    }

    var isIPv4: Bool { high == 0 && low >> 32 == Self.mappedPrefix >> 32 }

    package var isLoopback: Bool { isIPv4 ? low >> 24 & 0xFF == 127 : high == 0 && low == 1 }

    /// What distinguishes callers: the address, or the first 64 bits of an IPv6 address, because one host can use all
    /// addresses of a /64.
    var network: ClientAddress { isIPv4 ? self : prefix(64) }

    /// The 16 bytes of the address, in network order.
    var bytes: [UInt8] {
        [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
    }

    /// The address with all but its first `bits` of 128 set to zero.
    fileprivate func prefix(_ bits: Int) -> ClientAddress {
        ClientAddress(
            high: bits >= 64 ? high : high & ~(UInt64.max >> bits),
            low: bits >= 128 ? low : bits <= 64 ? 0 : low & ~(UInt64.max >> (bits - 64))
        )
    }
}

/// A range of addresses: `192.0.2.0/24`, `2001:db8::/32`, or a single address.
package struct AddressRange: Hashable, Sendable {
    private let first: ClientAddress
    /// Of 128 bits.
    private let prefixBits: Int

    /// - Returns: nil for text that is not an address with an optional prefix length.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = ClientAddress(parts[0]) else { return nil }
        // An address with a colon has 128 bits, also if it is an IPv4-mapped one.
        let bits = parts[0].contains(":") ? 128 : 32
        guard let given = parts.count == 1 ? bits : Int(parts[1]), (0...bits).contains(given) else { return nil }
        prefixBits = 128 - bits + given
        first = address.prefix(prefixBits)
    }

    package func contains(_ address: ClientAddress) -> Bool { address.prefix(prefixBits) == first }
}
