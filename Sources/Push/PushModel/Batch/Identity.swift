package import APNSWire

/// The ID of a batch: a UUIDv7 whose last 16 bits are zero.
///
/// The ID of push *i* is the same UUID with *i* in the last 16 bits, so a push ID contains its batch and index.
package struct BatchID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let value: APNSID

    /// nil unless the last 16 bits are zero.
    package init?(_ value: APNSID) {
        guard value.low & 0xFFFF == 0 else { return nil }
        self.value = value
    }

    /// A new ID: RFC 9562 version 7, with 58 random bits.
    package init(at now: WallTime, using generator: inout some RandomNumberGenerator) {
        let milliseconds = UInt64(clamping: now.milliseconds) & 0xFFFF_FFFF_FFFF
        let random12: UInt64 = generator.next() & 0x0FFF
        let random46: UInt64 = generator.next() & 0x3FFF_FFFF_FFFF_0000
        value = APNSID(high: milliseconds << 16 | 0x7000 | random12, low: 0x8000_0000_0000_0000 | random46)
    }

    package static func random(at now: WallTime) -> BatchID {
        var generator = SystemRandomNumberGenerator()
        return BatchID(at: now, using: &generator)
    }

    package func push(_ index: Int) -> PushID { PushID(value.advanced(by: index)) }

    package static func < (a: BatchID, b: BatchID) -> Bool { a.value < b.value }
    package var description: String { value.description }
}

/// The ID of a push: the `msg_id` that the client receives, and the `apns-id` of every attempt.
package struct PushID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let value: APNSID

    package init(_ value: APNSID) {
        self.value = value
    }

    package init?(_ text: some StringProtocol) {
        guard let value = APNSID(text) else { return nil }
        self.value = value
    }

    package var batch: BatchID { BatchID(APNSID(high: value.high, low: value.low & ~0xFFFF))! }
    package var index: Int { Int(value.low & 0xFFFF) }

    package static func < (a: PushID, b: PushID) -> Bool { a.value < b.value }
    package var description: String { value.description }
}

/// A time of the wall clock, in milliseconds since 1970. Intervals are measured with the monotonic clock instead.
package struct WallTime: Hashable, Sendable, Comparable {
    package var milliseconds: Int64

    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    package init(seconds: Int64) {
        let (milliseconds, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        self.milliseconds = overflow ? (seconds < 0 ? .min : .max) : milliseconds
    }

    /// Rounded down.
    package var seconds: Int64 { milliseconds >= 0 ? milliseconds / 1000 : (milliseconds - 999) / 1000 }

    package static let distantFuture = WallTime(milliseconds: .max)

    package static func < (a: WallTime, b: WallTime) -> Bool { a.milliseconds < b.milliseconds }

    package static func + (time: WallTime, duration: Duration) -> WallTime {
        let (sum, overflow) = time.milliseconds.addingReportingOverflow(duration.milliseconds)
        return WallTime(milliseconds: overflow ? .max : sum)
    }
}

extension Duration {
    /// Whole milliseconds, rounded down.
    package var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }
}

/// The name of an app: the configured name of a bundle ID with a credential for each of its environments.
package struct AppID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let name: String

    package init(_ name: String) {
        self.name = name
    }

    package static func < (a: AppID, b: AppID) -> Bool { a.name < b.name }
    package var description: String { name }
}

/// The urgency of a push. A lower lane never delays a higher one.
package enum Lane: UInt8, Sendable, CaseIterable, Comparable, CustomStringConvertible {
    case urgent = 0
    case normal = 1
    case bulk = 2

    package var description: String { label }
    package var label: String {
        switch self {
        case .urgent: "urgent"
        case .normal: "normal"
        case .bulk: "bulk"
        }
    }

    package init?(label: some StringProtocol) {
        guard let lane = Self.allCases.first(where: { $0.label == label }) else { return nil }
        self = lane
    }

    package static func < (a: Lane, b: Lane) -> Bool { a.rawValue < b.rawValue }
}
