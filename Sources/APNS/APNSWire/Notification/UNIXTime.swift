/// A point in time in milliseconds since 1970, as APNs and its headers count it.
public struct UNIXTime: Sendable, Hashable, Comparable {
    public var millisecondsSince1970: Int64

    public init(millisecondsSince1970: Int64) {
        self.millisecondsSince1970 = millisecondsSince1970
    }

    /// - Parameter secondsSince1970: clamped to what fits in milliseconds.
    public init(secondsSince1970: Int64) {
        let (product, isOverflow) = secondsSince1970.multipliedReportingOverflow(by: 1000)
        millisecondsSince1970 = isOverflow ? (secondsSince1970 < 0 ? .min : .max) : product
    }

    /// Whole seconds, rounded down.
    public var secondsSince1970: Int64 {
        let (quotient, remainder) = millisecondsSince1970.quotientAndRemainder(dividingBy: 1000)
        return remainder < 0 ? quotient - 1 : quotient
    }

    public static func < (left: UNIXTime, right: UNIXTime) -> Bool {
        left.millisecondsSince1970 < right.millisecondsSince1970
    }

    /// Adds a duration, to the millisecond.
    public static func + (time: UNIXTime, duration: Duration) -> UNIXTime {
        let (seconds, attoseconds) = duration.components
        return UNIXTime(
            millisecondsSince1970: time.millisecondsSince1970 + seconds * 1000 + attoseconds / 1_000_000_000_000_000)
    }

    public static func - (left: UNIXTime, right: UNIXTime) -> Duration {
        .milliseconds(left.millisecondsSince1970 - right.millisecondsSince1970)
    }
}

extension UNIXTime: CustomStringConvertible {
    /// Milliseconds since 1970.
    public var description: String { "\(millisecondsSince1970)" }
}
