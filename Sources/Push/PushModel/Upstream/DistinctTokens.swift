package import APNSWire

/// Hashes of a few different device tokens: enough to show that several devices are affected, whatever their number.
package struct DistinctTokens: Sendable, Equatable {
    package static let countMax = 10

    package private(set) var hashes: [UInt64] = []

    package init() {}

    package var count: Int { hashes.count }
    package var isEmpty: Bool { hashes.isEmpty }

    package func contains(_ hash: UInt64) -> Bool { hashes.contains(hash) }

    /// Adds a token unless it is known or `countMax` others are.
    package mutating func insert(_ hash: UInt64) {
        if hashes.count < Self.countMax, !hashes.contains(hash) { hashes.append(hash) }
    }

    package mutating func formUnion(_ other: DistinctTokens) {
        for hash in other.hashes { insert(hash) }
    }
}

extension NotificationBatch {
    /// A hash of a push's device token, equal in every process. FNV-1a.
    package func tokenHash(at index: Int) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in token(at: index) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return hash
    }
}
