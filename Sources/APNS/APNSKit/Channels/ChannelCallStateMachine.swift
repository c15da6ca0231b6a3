package import APNSWire

/// Decides after each attempt of one request whether it is sent again.
///
/// Pure. Only requests that APNs has certainly not processed are sent again: any other repetition could create a second
/// channel.
package struct ChannelCallStateMachine: Equatable {
    /// Attempts after the first.
    package static let resendsMax = 5

    package enum Action: Equatable {
        case finish
        case sendAgain
        case sendAgainOnNewConnection
    }

    private var resends = 0

    package init() {}

    /// The server has not processed the request, or it was never written.
    ///
    /// The first time may be a coincidence, for example a stream limit that was lowered; after that, another connection
    /// is tried.
    package mutating func notProcessed() -> Action {
        resend(resends == 0 ? .sendAgain : .sendAgainOnNewConnection)
    }

    /// The server rejected the request.
    ///
    /// - Parameter hasNewToken: whether a provider token other than the one sent is available.
    package mutating func rejected(_ reason: APNSReason, hasNewToken: Bool) -> Action {
        // After an expired token, APNs accepts no other token on the same connection (Pushy).
        guard reason == .expiredProviderToken, hasNewToken else { return .finish }
        return resend(.sendAgainOnNewConnection)
    }

    private mutating func resend(_ action: Action) -> Action {
        guard resends < Self.resendsMax else { return .finish }
        resends += 1
        return action
    }
}
