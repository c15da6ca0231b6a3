import APNSWire
import HTTP2Session

/// The header block of a push, kept from one push to the next.
///
/// Pushes that follow each other differ in token and id as a rule, and both have a fixed length: those two are written
/// over in place. Only when something else changes is the block built anew.
struct HeaderBlockTemplate {
    /// All that decides about the block's form.
    private struct Shape: Equatable {
        var batch: UInt64
        var headersIndex: UInt16
        var tokenLength: UInt8
        var expiration: Int64
    }

    private static let pathPrefix: StaticString = "/3/device/"
    private static let pathField = 3

    private let authority: String
    private var authorization: String?
    private var shape: Shape?
    private var idField = 0
    private var isSendable = false
    private(set) var headers = HTTP2Headers()

    /// - Parameter authority: host, and port unless it is 443.
    init(authority: String) {
        self.authority = authority
    }

    mutating func setAuthorization(_ text: String?) {
        guard text != authorization else { return }
        authorization = text
        shape = nil
    }

    /// Makes `headers` those of one push.
    ///
    /// - Returns: false when the push's topic or collapse id cannot stand in a header field.
    mutating func fill(_ index: Int, of open: InFlightBatch) -> Bool {
        let entry = open.batch.entries[index]
        let wanted = Shape(
            batch: open.serial, headersIndex: entry.headersIndex, tokenLength: entry.tokenLength,
            expiration: entry.expiration
        )
        if wanted != shape { build(wanted, open.batch.headers[Int(entry.headersIndex)]) }
        guard isSendable else { return false }
        headers.overwriteValue(at: Self.pathField) { path in
            open.batch.tokens.withUnsafeBytes { tokens in
                var output = Self.pathPrefix.utf8CodeUnitCount
                for position in Int(entry.tokenStart)..<Int(entry.tokenStart) + Int(entry.tokenLength) {
                    path[output] = Hex.digit(tokens[position] >> 4)
                    path[output + 1] = Hex.digit(tokens[position] & 15)
                    output += 2
                }
            }
        }
        headers.overwriteValue(at: idField) { open.batch.id(at: index).write(to: $0) }
        return true
    }

    private mutating func build(_ wanted: Shape, _ shared: NotificationHeaders) {
        shape = wanted
        isSendable = Self.canSend(shared)
        guard isSendable else { return }
        headers.truncate(to: 0)
        headers.append(":method", "POST" as StaticString)
        headers.append(":scheme", "https" as StaticString)
        headers.append(":authority", authority)
        // Values that differ from push to push are never indexed: APNs' HPACK table is small (4,096 bytes, observed).
        headers.append(":path", isIndexed: false) { path in
            path.append(contentsOf: Self.pathPrefix.withUTF8Buffer { Array($0) })
            path.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: Int(wanted.tokenLength) * 2))
        }
        if let authorization { headers.append("authorization", authorization) }
        headers.append("apns-topic", shared.topic)
        headers.append("apns-push-type", shared.pushType.label)
        if let priority = shared.priority { headers.append("apns-priority", priority.label) }
        idField = headers.count
        headers.append("apns-id", isIndexed: false) { id in
            id.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: APNSID.textLength))
        }
        if wanted.expiration != NotificationBatch.noExpiration {
            headers.append("apns-expiration", String(wanted.expiration), isIndexed: false)
        }
        if let collapseID = shared.collapseID { headers.append("apns-collapse-id", collapseID, isIndexed: false) }
    }

    /// Whether the fields are fit for HTTP/2 (RFC 9113, section 8.2.1); whether APNs likes them is APNs' to say.
    private static func canSend(_ headers: NotificationHeaders) -> Bool {
        isFieldValue(headers.topic) && headers.collapseID.map(isFieldValue) ?? true
    }

    private static func isFieldValue(_ text: String) -> Bool {
        let bytes = text.utf8
        guard (1...1024).contains(bytes.count), bytes.first != 0x20, bytes.last != 0x20 else { return false }
        return bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }
}

extension Priority {
    /// The header's value.
    fileprivate var label: StaticString {
        switch self {
        case .immediate: "10"
        case .conserving: "5"
        case .low: "1"
        }
    }
}
