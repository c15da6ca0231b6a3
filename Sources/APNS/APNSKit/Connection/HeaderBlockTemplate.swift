import APNSWire
import HTTP2Session

/// The header block of a push, reused from one push to the next.
///
/// Consecutive pushes usually differ only in token and ID, which have a fixed length: these two are overwritten in
/// place. The block is rebuilt only when another field changes.
struct HeaderBlockTemplate {
    /// Everything that the block depends on, except the bytes of token and ID.
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

    /// Sets `headers` to the fields of one push.
    ///
    /// - Returns: false when topic or collapse ID are not valid in a header field.
    mutating func fill(_ index: Int, of inFlight: InFlightBatch) -> Bool {
        let entry = inFlight.batch.entries[index]
        let newShape = Shape(
            batch: inFlight.serial, headersIndex: entry.headersIndex, tokenLength: entry.tokenLength,
            expiration: entry.expiration
        )
        if newShape != shape { build(newShape, inFlight.batch.headers[Int(entry.headersIndex)]) }
        guard isSendable else { return false }
        headers.overwriteValue(at: Self.pathField) { path in
            inFlight.batch.tokens.withUnsafeBytes { tokens in
                var output = Self.pathPrefix.utf8CodeUnitCount
                for position in Int(entry.tokenStart)..<Int(entry.tokenStart) + Int(entry.tokenLength) {
                    path[output] = Hex.digit(tokens[position] >> 4)
                    path[output + 1] = Hex.digit(tokens[position] & 15)
                    output += 2
                }
            }
        }
        headers.overwriteValue(at: idField) { inFlight.batch.id(at: index).write(to: $0) }
        return true
    }

    private mutating func build(_ newShape: Shape, _ shared: NotificationHeaders) {
        shape = newShape
        isSendable = Self.canSend(shared)
        guard isSendable else { return }
        headers.truncate(to: 0)
        headers.append(":method", "POST" as StaticString)
        headers.append(":scheme", "https" as StaticString)
        headers.append(":authority", authority)
        // Values that differ in each push are never indexed: APNs' HPACK table is small (4,096 bytes, observed).
        headers.append(":path", isIndexed: false) { path in
            path.append(contentsOf: Self.pathPrefix.withUTF8Buffer { Array($0) })
            path.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: Int(newShape.tokenLength) * 2))
        }
        if let authorization { headers.append("authorization", authorization) }
        headers.append("apns-topic", shared.topic)
        headers.append("apns-push-type", shared.pushType.label)
        if let priority = shared.priority { headers.append("apns-priority", priority.label) }
        idField = headers.count
        headers.append("apns-id", isIndexed: false) { id in
            id.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: APNSID.textLength))
        }
        if newShape.expiration != NotificationBatch.noExpiration {
            headers.append("apns-expiration", String(newShape.expiration), isIndexed: false)
        }
        if let collapseID = shared.collapseID { headers.append("apns-collapse-id", collapseID, isIndexed: false) }
    }

    /// Whether the values are valid in HTTP/2 (RFC 9113, section 8.2.1). APNs validates their content.
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
    /// The value of `apns-priority`.
    fileprivate var label: StaticString {
        switch self {
        case .immediate: "10"
        case .conserving: "5"
        case .low: "1"
        }
    }
}
