package import APNSWire
import NIOCore

/// What is to be done with one request after each of its attempts.
///
/// Pure. Only what APNs has certainly not done is asked for again: a request that is repeated otherwise would make a second
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

    /// The server has not processed it, or it never left.
    ///
    /// Once may be bad luck, a stream limit that fell for one; after that another connection is tried.
    package mutating func turnedAway() -> Action {
        resend(resends == 0 ? .sendAgain : .sendAgainOnNewConnection)
    }

    /// The server has answered.
    ///
    /// - Parameter hasNewToken: whether there is another provider token than the one that was sent.
    package mutating func answered(_ reason: APNSReason, hasNewToken: Bool) -> Action {
        // Once APNs has seen an expired token the connection stays unusable (Pushy).
        guard reason == .expiredProviderToken, hasNewToken else { return .finish }
        return resend(.sendAgainOnNewConnection)
    }

    private mutating func resend(_ action: Action) -> Action {
        guard resends < Self.resendsMax else { return .finish }
        resends += 1
        return action
    }
}

/// A request about a channel on its way through the client.
///
/// Used on the client's event loop only. Ends exactly once.
final class ChannelCall {
    enum Ending: Sendable {
        case answered(ChannelResponse)
        /// No answer; never of the outcome `answered`.
        case failed(APNSAnswer)
    }

    let request: ChannelRequest
    var machine = ChannelCallStateMachine()
    /// What became of the last attempt, when it was turned away.
    var turnedAway: APNSAnswer?
    /// Where it is, when it is anywhere.
    weak var connection: ChannelConnection?
    /// Rings at the deadline.
    var timer: Scheduled<Void>?
    private let ended: (Ending) -> Void
    private(set) var isEnded = false

    init(_ request: ChannelRequest, ended: @escaping (Ending) -> Void) {
        self.request = request
        self.ended = ended
    }

    func end(_ ending: Ending) {
        precondition(!isEnded, "a call ends once")
        isEnded = true
        connection = nil
        timer?.cancel()
        ended(ending)
    }
}
