import APNSWire
package import PushModel
import Synchronization

/// The rate limit of pushes to one device of one app. Keeps only a hash of each token.
package final class DeviceLimiter: Sendable {
    /// 16 bytes each.
    package static let devicesMax = 1_000_000

    private let limit: RateLimit
    private let limiter: Mutex<RateLimiter>
    private let clock: @Sendable () -> Duration

    /// - Parameter clock: monotonic.
    package init(limit: RateLimit, devicesMax: Int = devicesMax, clock: @escaping @Sendable () -> Duration) {
        self.limit = limit
        self.clock = clock
        limiter = Mutex(RateLimiter(limit: limit, keysMax: devicesMax))
    }

    /// Counts a push, unless it exceeds the limit.
    ///
    /// - Parameter token: raw bytes.
    /// - Returns: the refusal; nil if the push is admitted.
    func admit(app: AppID, token: UnsafeRawBufferPointer) -> Refusal? {
        let now = clock()
        let key = Self.key(app: app, token: token)
        guard case .refuse(let retryAfter) = limiter.withLock({ $0.acquire(key, now: now) }) else { return nil }
        return Refusal(
            .rateLimited,
            .tooOften(
                pushes: limit.burst, seconds: max(1, limit.window.secondsRoundedUp),
                retryAfter: max(1, retryAfter.secondsRoundedUp)
            )
        )
    }

    /// Subtracts one push that was counted but not stored.
    func refund(app: AppID, token: UnsafeRawBufferPointer) {
        let key = Self.key(app: app, token: token)
        limiter.withLock { $0.release(key) }
    }

    /// Subtracts pushes that were counted but not stored, so that sending them again does not count them a second time.
    func refund(_ batch: Batch) {
        let notifications = batch.notifications
        limiter.withLock { limiter in
            for index in 0..<notifications.count {
                notifications.token(at: index).withUnsafeBytes { limiter.release(Self.key(app: batch.app, token: $0)) }
            }
        }
    }

    private static func key(app: AppID, token: UnsafeRawBufferPointer) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(app.name)
        hasher.combine(bytes: token)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
