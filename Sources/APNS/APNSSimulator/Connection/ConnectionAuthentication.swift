package import APNSWire

/// The provider token of one connection. The first valid token fixes the connection's team and key.
///
/// Source: Apple, "Establishing a token-based connection to APNs": a connection belongs to one team; a token is good
/// for an hour and may be replaced at most once every 20 minutes.
package struct ConnectionAuthentication {
    /// The shortest interval between the issue times of two tokens on one connection, in seconds.
    static let renewalIntervalMin: Int64 = 20 * 60

    private(set) var current: VerifiedToken?
    /// Requests that the client wrote before the current token may still carry this one.
    private var previous: VerifiedToken?

    package init() {}

    /// Whether a valid token has been received.
    var isAuthenticated: Bool { current != nil }

    /// Checks the `authorization` of one request. A valid new token becomes the current one.
    ///
    /// - Parameters:
    ///   - now: UNIX seconds.
    ///   - limitsUpdates: Whether a token may be replaced only every 20 minutes.
    /// - Returns: The reason for refusing it; nil if it is valid.
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
        // Apple requires a time "no more than one hour from" now and documents no reason for a time in the future.
        return age < -APNSLimits.providerTokenAgeMax.components.seconds ? .invalidProviderToken : nil
    }

    private func refusal(ofChangeTo token: VerifiedToken, _ limitsUpdates: Bool) -> APNSReason? {
        guard let current else { return nil }
        guard token.teamID == current.teamID else { return .invalidProviderToken }
        if token.keyID != current.keyID {
            // Team keys of one team may replace each other. A topic-specific key has at most one related key.
            let areTeamKeys = token.key?.topics == nil && current.key?.topics == nil
            let areRelated = token.key?.relatedKeyID == current.keyID || current.key?.relatedKeyID == token.keyID
            return areTeamKeys || areRelated ? nil : .unrelatedKeyIdInToken
        }
        let isTooSoon = limitsUpdates && abs(token.issuedAt - current.issuedAt) < Self.renewalIntervalMin
        return isTooSoon ? .tooManyProviderTokenUpdates : nil
    }
}
