import APNSWire
import Synchronization

/// The provider token of one signing key, shared by all connections that use the key.
///
/// APNs requires that a token is used for 20 to 60 minutes, and counts how often it changes (Apple, "Establishing a
/// token-based connection to APNs"). Create one source per key and pass it to all clients of that key.
public final class ProviderTokenSource: Sendable {
    /// The age at which a token is replaced: 50 minutes, as Pushy and apns2 do.
    public static let renewalAge = Duration.seconds(3000)
    /// The minimum time between two forced renewals.
    public static let forcedRenewalInterval = Duration.seconds(1200)

    private struct State {
        var token: ProviderToken?
        var forcedAt: UNIXTime?
        var frozenUntil: UNIXTime?
    }

    public let key: ProviderTokenKey
    private let clock: WallClock
    private let state = Mutex(State())

    public init(key: ProviderTokenKey, clock: WallClock = .system) {
        self.key = key
        self.clock = clock
    }

    /// The token to use now. Signs a new one when the last was issued `renewalAge` ago.
    public func current() throws(ProviderTokenError) -> ProviderToken {
        let now = clock.now()
        return try state.withLock { state throws(ProviderTokenError) in
            if let token = state.token, !Self.isDue(token, state, now: now) { return token }
            let token = try ProviderToken.sign(with: key, now: now)
            state.token = token
            return token
        }
    }

    private static func isDue(_ token: ProviderToken, _ state: State, now: UNIXTime) -> Bool {
        if let frozenUntil = state.frozenUntil, now < frozenUntil { return false }
        // After the clock was set back, the token is from the future, which APNs rejects like an old one.
        return distance(now, token.issuedAt) >= renewalAge
    }

    private static func distance(_ left: UNIXTime, _ right: UNIXTime) -> Duration {
        left < right ? right - left : left - right
    }

    /// To be called when APNs rejects `token` as expired. Replaces it, unless it has been replaced already or the last
    /// forced renewal was less than `forcedRenewalInterval` ago.
    ///
    /// - Returns: whether `current` now returns another token than `token`.
    public func renew(insteadOf token: ProviderToken) throws(ProviderTokenError) -> Bool {
        let now = clock.now()
        return try state.withLock { state throws(ProviderTokenError) in
            if let current = state.token, current != token { return true }
            if let frozenUntil = state.frozenUntil, now < frozenUntil { return false }
            if let forcedAt = state.forcedAt, Self.distance(now, forcedAt) < Self.forcedRenewalInterval { return false }
            state.token = try ProviderToken.sign(with: key, now: now)
            state.forcedAt = now
            return true
        }
    }

    /// To be called when APNs reports too many token updates. Keeps the current token for `forcedRenewalInterval`.
    public func freeze() {
        let now = clock.now()
        state.withLock { $0.frozenUntil = now + Self.forcedRenewalInterval }
    }
}
