/// The header fields that many pushes of one app share.
public struct NotificationHeaders: Hashable, Sendable {
    /// `apns-topic`, suffix included.
    public var topic: String
    public var pushType: PushType
    /// `apns-priority`; nil leaves the header out, and APNs then assumes 10.
    public var priority: Priority?
    /// `apns-collapse-id`, at most 64 bytes.
    public var collapseID: String?

    public init(topic: String, pushType: PushType, priority: Priority? = nil, collapseID: String? = nil) {
        self.topic = topic
        self.pushType = pushType
        self.priority = priority
        self.collapseID = collapseID
    }
}

/// Up to 1,000 pushes in columnar form: the unit that the APNs client sends.
///
/// Two byte arrays hold all tokens and all payloads. Each push is a small fixed-size entry with offsets into them.
/// Copying, storing and loading a batch therefore needs no work per push, and equal neighbouring payloads, as in a
/// campaign, are stored once.
///
/// The `apns-id` of push *i* is `firstID` advanced by *i*.
public struct NotificationBatch: Sendable, Equatable {
    public static let countMax = 1000

    /// One push: offsets into `tokens` and `payloads`.
    public struct Entry: Sendable, Equatable {
        public var tokenStart: UInt32
        public var payloadStart: UInt32
        public var payloadLength: UInt16
        /// Index into `headers`.
        public var headersIndex: UInt16
        public var tokenLength: UInt8
        /// `apns-expiration` in UNIX seconds; 0 means "one attempt, do not store"; `noExpiration` leaves the header
        /// out.
        public var expiration: Int64

        public init(
            tokenStart: UInt32, tokenLength: UInt8, payloadStart: UInt32, payloadLength: UInt16, headersIndex: UInt16,
            expiration: Int64
        ) {
            self.tokenStart = tokenStart
            self.tokenLength = tokenLength
            self.payloadStart = payloadStart
            self.payloadLength = payloadLength
            self.headersIndex = headersIndex
            self.expiration = expiration
        }
    }

    /// The `expiration` of an entry that has no `apns-expiration` header.
    public static let noExpiration: Int64 = -1

    public var firstID: APNSID
    public private(set) var entries: [Entry] = []
    public private(set) var headers: [NotificationHeaders] = []
    /// The raw bytes of all tokens.
    public private(set) var tokens: [UInt8] = []
    /// All JSON payloads.
    public private(set) var payloads: [UInt8] = []

    public init(firstID: APNSID) {
        self.firstID = firstID
    }

    /// A batch from its columns, for decoders; nil if an entry points outside the columns or there are more than 1,000
    /// entries.
    public init?(
        firstID: APNSID, entries: [Entry], headers: [NotificationHeaders], tokens: [UInt8], payloads: [UInt8]
    ) {
        guard entries.count <= Self.countMax else { return nil }
        for entry in entries {
            guard Int(entry.tokenStart) + Int(entry.tokenLength) <= tokens.count,
                Int(entry.payloadStart) + Int(entry.payloadLength) <= payloads.count,
                Int(entry.headersIndex) < headers.count, entry.tokenLength > 0
            else { return nil }
        }
        self.firstID = firstID
        self.entries = entries
        self.headers = headers
        self.tokens = tokens
        self.payloads = payloads
    }

    public var count: Int { entries.count }
    public var isEmpty: Bool { entries.isEmpty }
    public var isFull: Bool { entries.count == Self.countMax }

    /// The memory of the columns in bytes, for memory limits.
    public var byteCount: Int { tokens.count + payloads.count + entries.count * MemoryLayout<Entry>.stride }

    /// The `apns-id` of a push.
    @inlinable
    public func id(at index: Int) -> APNSID { firstID.advanced(by: index) }

    /// The raw bytes of a push's device token.
    public func token(at index: Int) -> ArraySlice<UInt8> {
        let entry = entries[index]
        return tokens[Int(entry.tokenStart)..<Int(entry.tokenStart) + Int(entry.tokenLength)]
    }

    /// The JSON payload of a push.
    public func payload(at index: Int) -> ArraySlice<UInt8> {
        let entry = entries[index]
        return payloads[Int(entry.payloadStart)..<Int(entry.payloadStart) + Int(entry.payloadLength)]
    }

    /// Appends one push.
    ///
    /// - Parameters:
    ///   - token: 1 to 255 raw bytes.
    ///   - payload: 1 to 5,120 bytes of JSON.
    ///   - expiration: UNIX seconds, or `noExpiration`.
    /// - Precondition: the batch is not full and the lengths are within their limits.
    public mutating func append(
        token: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer, headers: NotificationHeaders,
        expiration: Int64 = NotificationBatch.noExpiration
    ) {
        precondition(!isFull, "a batch holds at most 1,000 pushes")
        precondition((1...APNSLimits.deviceTokenBytesMax).contains(token.count), "a token has 1 to 255 bytes")
        precondition(payload.count <= Int(UInt16.max), "a payload has at most 65,535 bytes")
        let payloadStart: UInt32
        if let last = entries.last, isEqual(payload, toPayloadOf: last) {
            payloadStart = last.payloadStart
        } else {
            payloadStart = UInt32(payloads.count)
            payloads.append(contentsOf: payload)
        }
        entries.append(
            Entry(
                tokenStart: UInt32(tokens.count), tokenLength: UInt8(token.count),
                payloadStart: payloadStart, payloadLength: UInt16(payload.count),
                headersIndex: index(of: headers), expiration: expiration
            )
        )
        tokens.append(contentsOf: token)
    }

    private func isEqual(_ payload: UnsafeRawBufferPointer, toPayloadOf entry: Entry) -> Bool {
        guard Int(entry.payloadLength) == payload.count else { return false }
        return payloads.withUnsafeBytes { all in
            UnsafeRawBufferPointer(rebasing: all[Int(entry.payloadStart)..<Int(entry.payloadStart) + payload.count])
                .elementsEqual(payload)
        }
    }

    private mutating func index(of wanted: NotificationHeaders) -> UInt16 {
        // Neighbours usually share their headers, so a short scan is cheaper than a dictionary.
        if let last = headers.last, last == wanted { return UInt16(headers.count - 1) }
        let recent = headers.suffix(8)
        if let found = recent.lastIndex(of: wanted) { return UInt16(found) }
        headers.append(wanted)
        return UInt16(headers.count - 1)
    }
}
