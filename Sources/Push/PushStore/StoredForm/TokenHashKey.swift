package import Foundation

/// The key of a store, under which the hashes of device tokens are computed.
///
/// The hash is the low 32 bits of SipHash-2-4. Without the key it reveals nothing about the token, and a caller cannot
/// choose tokens that collide.
///
/// Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; read 2026-11.
package struct TokenHashKey: Sendable, Equatable {
    package static let byteCount = 16

    private let low: UInt64
    private let high: UInt64

    /// nil unless there are 16 bytes.
    package init?(bytes: Data) {
        guard bytes.count == Self.byteCount else { return nil }
        (low, high) = bytes.withUnsafeBytes { raw in
            (
                UInt64(littleEndian: raw.loadUnaligned(as: UInt64.self)),
                UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    private init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    package static func random() -> TokenHashKey {
        var generator = SystemRandomNumberGenerator()
        return TokenHashKey(low: generator.next(), high: generator.next())
    }

    package var bytes: Data {
        var bytes = Data(capacity: Self.byteCount)
        for half in [low, high] { withUnsafeBytes(of: half.littleEndian) { bytes.append(contentsOf: $0) } }
        return bytes
    }

    package func hash(_ token: UnsafeRawBufferPointer) -> UInt32 { UInt32(truncatingIfNeeded: sipHash(token)) }

    package func sipHash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var state = SipState(low: low, high: high)
        let tail = bytes.count & ~7
        var offset = 0
        while offset < tail {
            state.add(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        while offset < bytes.count {
            last |= UInt64(bytes[offset]) << UInt64(8 * (offset - tail))
            offset += 1
        }
        state.add(last)
        return state.finish()
    }
}

private struct SipState {
    private var v0, v1, v2, v3: UInt64

    @inline(__always)
    init(low: UInt64, high: UInt64) {
        v0 = low ^ 0x736F_6D65_7073_6575
        v1 = high ^ 0x646F_7261_6E64_6F6D
        v2 = low ^ 0x6C79_6765_6E65_7261
        v3 = high ^ 0x7465_6462_7974_6573
    }

    @inline(__always)
    mutating func add(_ word: UInt64) {
        v3 ^= word
        mix()
        mix()
        v0 ^= word
    }

    @inline(__always)
    mutating func finish() -> UInt64 {
        v2 ^= 0xFF
        for _ in 0..<4 { mix() }
        return v0 ^ v1 ^ v2 ^ v3
    }

    @inline(__always)
    private mutating func mix() {
        v0 &+= v1
        v1 = Self.rotated(v1, 13) ^ v0
        v0 = Self.rotated(v0, 32)
        v2 &+= v3
        v3 = Self.rotated(v3, 16) ^ v2
        v0 &+= v3
        v3 = Self.rotated(v3, 21) ^ v0
        v2 &+= v1
        v1 = Self.rotated(v1, 17) ^ v2
        v2 = Self.rotated(v2, 32)
    }

    @inline(__always)
    private static func rotated(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }
}
