package import APNSWire

/// One request on one stream, and the part of its response received so far. Pure.
package struct ChannelExchange {
    /// What the end of the stream means for the request.
    package enum Resolution: Equatable {
        case answered(ChannelResponse)
        /// Certainly not processed: the request may be sent again.
        case notProcessed(APNSAnswer)
        case ambiguous(APNSAnswer)
    }

    /// The longest response body other than a list; APNs sends fewer than 100 bytes.
    private static let shortBodyBytesMax = 4096

    package let operation: ChannelRequest.Operation
    package let stream: Int32
    /// Whether the whole request was written; before that, the server cannot have processed it.
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
        // Fields of an interim response are discarded; trailers are added to the fields of the final response.
        if status < 200 { fields = [] }
    }

    package mutating func fieldReceived(_ name: String, _ value: String) {
        if name == ":status" {
            status = UInt16(value) ?? 0
        } else if ["apns-channel-id", "apns-request-id", "apns-unique-id", "retry-after"].contains(name) {
            fields.append(ChannelRequest.HeaderField(name, value))
        }
    }

    /// - Returns: false when the body is longer than a response can be.
    package mutating func bodyReceived(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let isList = operation == .list && status == operation.successStatus
        let bytesMax = isList ? ChannelResponse.bodyBytesMax : Self.shortBodyBytesMax
        isOversized = isOversized || body.count + bytes.count > bytesMax
        if isOversized { body = [] } else { body.append(contentsOf: bytes) }
        return !isOversized
    }

    /// The response, as far as it was received; nil before its status.
    package var response: ChannelResponse? {
        guard status >= 200 else { return nil }
        return ChannelResponse(status: status, headers: fields, body: body, to: operation)
    }

    /// What the end of the stream, or of its connection, means for the request.
    ///
    /// - Parameter unanswered: the answer without a status, from `ConnectionStateMachine`. A status that has been
    ///   received takes precedence, even if the rest of the response is missing.
    package func resolution(unanswered: @autoclosure () -> APNSAnswer) -> Resolution {
        if let response { return .answered(response) }
        let answer = unanswered()
        return answer.disposition == .ambiguous ? .ambiguous(answer) : .notProcessed(answer)
    }
}
