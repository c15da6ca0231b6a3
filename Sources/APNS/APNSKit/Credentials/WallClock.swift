public import APNSWire

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The time of day, used for the age of provider tokens and the expiration of pushes.
///
/// Deadlines and delays use the event loop's monotonic clock instead.
public struct WallClock: Sendable {
    /// The current time; whole seconds are enough.
    public let now: @Sendable () -> UNIXTime

    public init(now: @escaping @Sendable () -> UNIXTime) {
        self.now = now
    }

    /// The system clock.
    public static let system = WallClock { UNIXTime(secondsSince1970: Int64(time(nil))) }
}
