public import APNSWire

/// Why a request about a channel failed, and what to do next.
///
/// Only after `ambiguous` may APNs have processed the request. The error contains no payload and no complete channel
/// ID.
public struct APNSChannelError: Error, Equatable, CustomStringConvertible {
    /// An open set: later versions may add codes.
    public struct Code: Sendable, Hashable {
        private let name: String

        /// The request is invalid and was not sent. See `requestError`.
        public static let invalidRequest = Code(name: "invalidRequest")
        /// APNs rejected the request. See `response`.
        public static let refused = Code(name: "refused")
        /// APNs accepted the request, but its answer lacks a required part such as the new channel's ID. See
        /// `response`.
        public static let malformedAnswer = Code(name: "malformedAnswer")
        /// APNs has certainly not processed the request. See `failure`.
        public static let notProcessed = Code(name: "notProcessed")
        /// The request was written and not answered: APNs may have processed it. See `failure`.
        public static let ambiguous = Code(name: "ambiguous")
    }

    /// How far the request got.
    public let code: Code
    /// The operation of the request.
    public let operation: ChannelRequest.Operation
    /// The answer, if there is one.
    public let response: ChannelResponse?
    /// Why there is no answer; `none` if there is one.
    public let failure: APNSAnswer.Failure
    /// The reason in the GOAWAY with which APNs ended the connection, if it did.
    public let reason: APNSReason
    /// What makes the request invalid.
    public let requestError: ChannelRequestError?

    package init(_ error: ChannelRequestError, _ operation: ChannelRequest.Operation) {
        self.init(.invalidRequest, operation, requestError: error)
    }

    /// - Precondition: the disposition of `answer` is not `answered`.
    package init(_ answer: APNSAnswer, _ operation: ChannelRequest.Operation) {
        precondition(answer.disposition != .answered, "there is an answer")
        self.init(
            answer.disposition == .ambiguous ? .ambiguous : .notProcessed, operation, failure: answer.failure,
            reason: answer.reason
        )
    }

    /// nil for a success.
    package init?(_ response: ChannelResponse, _ operation: ChannelRequest.Operation) {
        switch response.disposition {
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

    /// What to do next, in one sentence.
    public var action: String {
        switch code {
        case .refused: response?.advice?.action ?? "Look up the reason in Apple's documentation."
        case .notProcessed: notProcessedAction
        case .ambiguous, .malformedAnswer: unclearAction
        default: "Correct the request."
        }
    }

    private var notProcessedAction: String {
        switch failure {
        case .clientClosed: "Create a new client; this one was shut down."
        case .credential: "Check the signing key; no provider token could be signed."
        case .overloaded: "Wait for earlier requests to end, then try again."
        case .cancelled: "Send it again if it is still needed; nothing was changed."
        default: reason.advice?.action ?? "Try again later; nothing was changed."
        }
    }

    private var unclearAction: String {
        switch operation {
        case .create: "List the channels and compare them with your records before you create another."
        case .delete: "Try again; ChannelNotRegistered then means that the channel is deleted."
        case .publish: "Publish the latest state again; devices keep the one with the latest timestamp."
        case .read, .list: "Try again; nothing was changed."
        }
    }

    /// The operation, the problem, and what to do next.
    public var description: String { "\(operation): \(problem). \(action)" }

    private var problem: String {
        switch code {
        case .refused:
            guard let response, case .refused(let refusal) = response.disposition else { return "rejected" }
            let label = refusal.reason.label.utf8CodeUnitCount > 0 ? "\(refusal.reason.label)" : refusal.unknownReason
            return "APNs rejected the request with \(response.status) \(label ?? "without a reason")"
        case .malformedAnswer: return "the answer of APNs lacks a required part"
        case .notProcessed: return "APNs has not processed the request (\(failure))"
        case .ambiguous: return "no answer (\(failure)), APNs may have processed the request"
        default: return requestError.map { "\($0)" } ?? "the request is invalid"
        }
    }
}
