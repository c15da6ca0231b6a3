public import APNSWire

/// Why a request about a channel had no success, and what to do now.
///
/// Only after `ambiguous` may APNs have done what it was asked. Nothing in it holds a payload or a whole channel id.
public struct APNSChannelError: Error, Equatable, CustomStringConvertible {
    /// An open set: later versions may add to it.
    public struct Code: Sendable, Hashable {
        private let name: String

        /// Nothing was sent: the request cannot be right. See `requestError`.
        public static let invalidRequest = Code(name: "invalidRequest")
        /// APNs said no. See `response`.
        public static let refused = Code(name: "refused")
        /// APNs said yes without what it must bring, such as the new channel's id. See `response`.
        public static let malformedAnswer = Code(name: "malformedAnswer")
        /// APNs has certainly not done it. See `failure`.
        public static let notProcessed = Code(name: "notProcessed")
        /// The request was written and no answer came: APNs may have done it. See `failure`.
        public static let ambiguous = Code(name: "ambiguous")
    }

    /// How far it got.
    public let code: Code
    /// What was asked for.
    public let operation: ChannelRequest.Operation
    /// What APNs said, if it said anything.
    public let response: ChannelResponse?
    /// Why there is no answer; `.none` when there is one.
    public let failure: APNSAnswer.Failure
    /// What APNs said when it ended the connection, if it did.
    public let reason: APNSReason
    /// What is wrong with the request.
    public let requestError: ChannelRequestError?

    package init(_ error: ChannelRequestError, _ operation: ChannelRequest.Operation) {
        self.init(.invalidRequest, operation, requestError: error)
    }

    /// - Precondition: `answer` is none that APNs gave.
    package init(_ answer: APNSAnswer, _ operation: ChannelRequest.Operation) {
        precondition(answer.outcome != .answered, "an answer is not the lack of one")
        self.init(
            answer.outcome == .ambiguous ? .ambiguous : .notProcessed, operation, failure: answer.failure,
            reason: answer.reason
        )
    }

    /// nil for a success.
    package init?(_ response: ChannelResponse, _ operation: ChannelRequest.Operation) {
        switch response.outcome {
        case .refused(let refusal): self.init(.refused, operation, response: response, reason: refusal.reason)
        case .malformed: self.init(.malformedAnswer, operation, response: response)
        case .created, .described, .deleted, .listed, .published: return nil
        }
    }

    private init(
        _ code: Code, _ operation: ChannelRequest.Operation, response: ChannelResponse? = nil,
        failure: APNSAnswer.Failure = .none, reason: APNSReason = .none, requestError: ChannelRequestError? = nil
    ) {
        self.code = code
        self.operation = operation
        self.response = response
        self.failure = failure
        self.reason = reason
        self.requestError = requestError
    }

    /// What to do now, in one sentence.
    public var action: String {
        switch code {
        case .refused: response?.advice?.action ?? "Look the reason up at Apple's."
        case .notProcessed: notProcessedAction
        case .ambiguous, .malformedAnswer: unclearAction
        default: "Correct the request."
        }
    }

    private var notProcessedAction: String {
        switch failure {
        case .clientClosed: "Make a new client; this one was shut down."
        case .credential: "Check the signing key; no provider token could be made."
        case .overloaded: "Wait for earlier requests to end, then ask again."
        default: reason.advice?.action ?? "Ask again later; nothing has been changed."
        }
    }

    private var unclearAction: String {
        switch operation {
        case .create: "List the channels and compare with those you know before you create another."
        case .delete: "Ask again; ChannelNotRegistered then says that the channel is gone."
        case .publish: "Publish the newest state again; devices keep the one with the newest timestamp."
        case .read, .list: "Ask again; nothing can have been changed."
        }
    }

    /// What was asked for, what came of it and what to do.
    public var description: String { "\(operation): \(what). \(action)" }

    private var what: String {
        switch code {
        case .refused:
            guard let response, case .refused(let refusal) = response.outcome else { return "refused" }
            let label = refusal.reason.label.utf8CodeUnitCount > 0 ? "\(refusal.reason.label)" : refusal.unknownReason
            return "APNs refused with \(response.status) \(label ?? "and no reason")"
        case .malformedAnswer: return "APNs agreed, without what its answer must bring"
        case .notProcessed: return "APNs has not processed it (\(failure))"
        case .ambiguous: return "no answer (\(failure)), APNs may have processed it"
        default: return requestError.map { "\($0)" } ?? "not a request"
        }
    }
}
