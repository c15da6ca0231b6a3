package import APNSWire
import HTTP2Session

/// One request on one stream, and what has come of its answer.
package struct ChannelExchange {
    /// What is known about an exchange that will get no further.
    package enum Ending: Equatable {
        case answered(ChannelResponse)
        /// Certainly not processed: free to go elsewhere.
        case turnedAway(APNSAnswer)
        case ambiguous(APNSAnswer)
    }

    /// Of an answer other than a list: APNs' own have fewer than 100 bytes.
    private static let shortBodyBytesMax = 4096

    package let operation: ChannelRequest.Operation
    package let stream: Int32
    /// The whole request was handed to the socket; before that nobody can have processed it.
    package var isSent = false
    private var status: UInt16 = 0
    private var fields: [ChannelRequest.HeaderField] = []
    private var body: [UInt8] = []
    private var isOversized = false

    package init(_ operation: ChannelRequest.Operation, stream: Int32) {
        self.operation = operation
        self.stream = stream
    }

    package mutating func headersBegan() {
        // Of an interim answer nothing is kept; trailers add to what is there.
        if status < 200 { fields = [] }
    }

    package mutating func fieldReceived(_ name: String, _ value: String) {
        if name == ":status" {
            status = UInt16(value) ?? 0
        } else if ["apns-channel-id", "apns-request-id", "apns-unique-id", "retry-after"].contains(name) {
            fields.append(ChannelRequest.HeaderField(name, value))
        }
    }

    /// - Returns: false when it is more than an answer can have.
    package mutating func bodyReceived(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let isList = operation == .list && status == operation.successStatus
        let bytesMax = isList ? ChannelResponse.bodyBytesMax : Self.shortBodyBytesMax
        isOversized = isOversized || body.count + bytes.count > bytesMax
        if isOversized { body = [] } else { body.append(contentsOf: bytes) }
        return !isOversized
    }

    /// The answer, as far as it came; nil before there is a status.
    package var response: ChannelResponse? {
        guard status >= 200 else { return nil }
        return ChannelResponse(status: status, headers: fields, body: body, to: operation)
    }

    /// The stream was closed without an end of the answer.
    package func ending(isRefused: Bool, goAway: (lastStream: Int32, reason: APNSReason)?) -> Ending {
        // Once there is a status it stands, whatever became of the rest.
        if let response { return .answered(response) }
        if let goAway, stream > goAway.lastStream {
            return .turnedAway(APNSAnswer(outcome: .refused, reason: goAway.reason, failure: .goAway))
        }
        if isRefused { return .turnedAway(.failed(.streamRefused, .refused)) }
        // Whatever part of it the server has read, it may have acted on.
        return .ambiguous(.failed(.streamReset, .ambiguous))
    }

    /// The connection is gone.
    package func ending(
        lostBecause failure: APNSAnswer.Failure, goAway: (lastStream: Int32, reason: APNSReason)?
    ) -> Ending {
        if let response { return .answered(response) }
        let reason = goAway?.reason ?? .none
        guard isSent else {
            return .turnedAway(APNSAnswer(outcome: .neverWritten, reason: reason, failure: failure))
        }
        if let goAway, stream > goAway.lastStream {
            return .turnedAway(APNSAnswer(outcome: .refused, reason: reason, failure: failure))
        }
        return .ambiguous(APNSAnswer(outcome: .ambiguous, reason: reason, failure: failure))
    }
}
