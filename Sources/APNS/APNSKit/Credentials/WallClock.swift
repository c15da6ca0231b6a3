#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The time of day, for what APNs itself measures by it: the age of provider tokens and the expiration of pushes.
///
/// Deadlines and delays never use it; they go by the event loop's monotonic clock.
public struct WallClock: Sendable {
    /// UNIX seconds.
    public let now: @Sendable () -> Int64

    public init(now: @escaping @Sendable () -> Int64) {
        self.now = now
    }

    /// The machine's clock.
    public static let system = WallClock { Int64(time(nil)) }
}
