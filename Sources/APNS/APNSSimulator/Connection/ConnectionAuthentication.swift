package import APNSWire

/// What one connection has learnt about its provider: the team and key of its first push, and the token in use.
///
/// Source: Apple, "Establishing a token-based connection to APNs": a connection belongs to one team; a token is good
/// for an hour and may be replaced once in 20 minutes.
package struct ConnectionAuthentication {
    /// Seconds between the issue times of two tokens of one connection.
    static let renewalIntervalMin: Int64 = 20 * 60

    private(set) var current: VerifiedToken?
    /// Requests that were written before the newest token may still carry it.
    private var previous: VerifiedToken?

    package init() {}

    /// True once a valid token has been seen.
    var isAuthenticated: Bool { current != nil }

    /// Judges the `authorization` of one request.
    ///
    /// - Parameters:
    ///   - now: UNIX seconds.
    ///   - limitsUpdates: whether a token may be replaced only every 20 minutes.
    /// - Returns: nil when it is good.
    package mutating func check(
        _ authorization: UnsafeRawBufferPointer, now: Int64, verifier: ProviderTokenVerifier,
        limitsUpdates: Bool = true
    ) -> APNSReason? {
        if let current, authorization.equals(current.authorization) { return Self.refusal(ofAge: current, now: now) }
        if let previous, authorization.equals(previous.authorization) { return Self.refusal(ofAge: previous, now: now) }
        switch verifier.verify(authorization) {
        case .failure(let refusal): return refusal.reason
        case .success(let token):
            if let reason = Self.refusal(ofAge: token, now: now) ?? refusal(ofChangeTo: token, limitsUpdates) {
                return reason
            }
            previous = current
            current = token
            return nil
        }
    }

    private static func refusal(ofAge token: VerifiedToken, now: Int64) -> APNSReason? {
        let age = now - token.issuedAt
        if age > APNSLimits.providerTokenAgeMax.components.seconds { return .expiredProviderToken }
        // Apple asks for a time "no more than one hour from" now and names no reason for the future.
        return age < -APNSLimits.providerTokenAgeMax.components.seconds ? .invalidProviderToken : nil
    }

    private func refusal(ofChangeTo token: VerifiedToken, _ limitsUpdates: Bool) -> APNSReason? {
        guard let current else { return nil }
        guard token.teamID == current.teamID else { return .invalidProviderToken }
        if token.keyID != current.keyID {
            // Team keys of one team replace each other; a topic-specific key has one that is related to it, or none.
            let areTeamKeys = token.key?.topics == nil && current.key?.topics == nil
            let areRelated = token.key?.relatedKeyID == current.keyID || current.key?.relatedKeyID == token.keyID
            return areTeamKeys || areRelated ? nil : .unrelatedKeyIdInToken
        }
        let isTooSoon = limitsUpdates && abs(token.issuedAt - current.issuedAt) < Self.renewalIntervalMin
        return isTooSoon ? .tooManyProviderTokenUpdates : nil
    }
}
