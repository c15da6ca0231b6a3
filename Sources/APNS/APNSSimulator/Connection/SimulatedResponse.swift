import APNSWire
import HTTP2Session
import JSONText

/// The response to a request.
struct SimulatedResponse {
    var status: UInt16
    /// For the counters; empty for a 200.
    var reason: String
    /// nil for a response without a body.
    var body: HTTP2Body?
    /// Seconds.
    var retryAfter: UInt32?
    /// The type of the body; nil for JSON.
    var contentType: String?

    static let accepted = SimulatedResponse(status: 200, reason: "", body: nil, retryAfter: nil)

    /// The response that APNs sends for `reason`. Each one is created once, because it is sent often.
    static func refused(_ reason: APNSReason) -> SimulatedResponse { byReason[reason]! }

    private static let byReason: [APNSReason: SimulatedResponse] = Dictionary(
        uniqueKeysWithValues: APNSReason.allCases.compactMap { reason in
            reason.status.map { (reason, SimulatedResponse(status: $0, reason: reason.description)) }
        }
    )

    /// - Parameters:
    ///   - reason: Any text; empty for a response without a body.
    ///   - timestamp: UNIX milliseconds. APNs sends it with a 410.
    init(status: UInt16, reason: String, timestamp: Int64? = nil, retryAfter: UInt32? = nil) {
        var body: [UInt8] = []
        if !reason.isEmpty {
            JSONWriter.append("{\"reason\":", to: &body)
            JSONWriter.appendString(reason, to: &body)
            if let timestamp {
                JSONWriter.append(",\"timestamp\":", to: &body)
                JSONWriter.appendInteger(timestamp, to: &body)
            }
            JSONWriter.append("}", to: &body)
        }
        self.init(status: status, reason: reason, body: body.isEmpty ? nil : HTTP2Body(body), retryAfter: retryAfter)
    }

    init(status: UInt16, reason: String, body: HTTP2Body?, retryAfter: UInt32?) {
        self.status = status
        self.reason = reason
        self.body = body
        self.retryAfter = retryAfter
    }
}

/// Builds response header blocks in reused storage.
struct ResponseHeaders {
    private var success = HTTP2Headers()
    private var failure = HTTP2Headers()
    private let usesUpperCaseIDs: Bool
    private let sendsUniqueIDs: Bool

    init(_ settings: SimulatorSettings, environment: SimulatorConfiguration.Environment) {
        usesUpperCaseIDs = settings.usesUpperCaseIDs
        sendsUniqueIDs = settings.sendsUniqueIDs ?? (environment == .sandbox)
        success.append(":status", "200" as StaticString)
    }

    mutating func make(for response: SimulatedResponse, id: APNSID) -> HTTP2Headers {
        if response.status == 200, response.body == nil {
            success.truncate(to: 1)
            appendIDs(id, to: &success)
            return success
        }
        failure.truncate(to: 0)
        failure.append(":status", isIndexed: true) { JSONWriter.appendInteger(response.status, to: &$0) }
        appendIDs(id, to: &failure)
        if response.body != nil {
            if let type = response.contentType {
                failure.append("content-type", type)
            } else {
                failure.append("content-type", "application/json" as StaticString)
            }
        }
        if let seconds = response.retryAfter {
            failure.append("retry-after", isIndexed: false) { JSONWriter.appendInteger(seconds, to: &$0) }
        }
        return failure
    }

    private func appendIDs(_ id: APNSID, to headers: inout HTTP2Headers) {
        headers.append("apns-id", isIndexed: false) { bytes in
            let start = bytes.count
            id.append(to: &bytes)
            guard usesUpperCaseIDs else { return }
            for index in start..<bytes.count where bytes[index] >= UInt8(ascii: "a") { bytes[index] &-= 32 }
        }
        if sendsUniqueIDs {
            headers.append("apns-unique-id", isIndexed: false) { APNSID.random().append(to: &$0) }
        }
    }
}
