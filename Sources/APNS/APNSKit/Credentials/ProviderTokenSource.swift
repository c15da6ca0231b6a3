import Synchronization

/// The provider token of one signing key, shared by every connection that uses the key.
///
/// APNs wants a token to be used for 20 to 60 minutes, and counts how often it changes (Apple, "Establishing a
/// token-based connection to APNs"): so there is one source for each key, and all clients of that key get it.
public final class ProviderTokenSource: Sendable {
    /// A token this old, in seconds, is replaced: 50 minutes, as Pushy and apns2 do.
    public static let renewalAge: Int64 = 3000
    /// No forced renewal comes sooner than this after the one before, in seconds.
    public static let forcedRenewalInterval: Int64 = 1200

    private struct State {
        var token: ProviderToken?
        var forcedAt: Int64?
        var frozenUntil: Int64?
    }

    public let key: ProviderTokenKey
    private let clock: WallClock
    private let state = Mutex(State())

    public init(key: ProviderTokenKey, clock: WallClock = .system) {
        self.key = key
        self.clock = clock
    }

    /// The token to use now; a new one when the last was issued 50 minutes ago.
    public func current() throws(ProviderTokenError) -> ProviderToken {
        let now = clock.now()
        return try state.withLock { state throws(ProviderTokenError) in
            if let token = state.token, !Self.isDue(token, state, now: now) { return token }
            let token = try ProviderToken.sign(with: key, now: now)
            state.token = token
            return token
        }
    }

    private static func isDue(_ token: ProviderToken, _ state: State, now: Int64) -> Bool {
        if let frozenUntil = state.frozenUntil, now < frozenUntil { return false }
        // A clock that was set back leaves a token from the future, which APNs refuses just like an old one.
        return abs(now - token.issuedAt) >= renewalAge
    }

    /// APNs called `token` expired: replaces it, unless that was already done or a forced renewal came less than 20
    /// minutes ago.
    ///
    /// - Returns: whether `current` now gives another token than `token`.
    public func renew(insteadOf token: ProviderToken) throws(ProviderTokenError) -> Bool {
        let now = clock.now()
        return try state.withLock { state throws(ProviderTokenError) in
            if let current = state.token, current != token { return true }
            if let frozenUntil = state.frozenUntil, now < frozenUntil { return false }
            if let forcedAt = state.forcedAt, abs(now - forcedAt) < Self.forcedRenewalInterval { return false }
            state.token = try ProviderToken.sign(with: key, now: now)
            state.forcedAt = now
            return true
        }
    }

    /// APNs says that tokens change too often: keeps the present one for 20 minutes.
    public func freeze() {
        let now = clock.now()
        state.withLock { $0.frozenUntil = now + Self.forcedRenewalInterval }
    }
}
