import JSONText

/// What APNs said to a `ChannelRequest`.
public struct ChannelResponse: Sendable, Equatable {
    /// What came of the request.
    public enum Disposition: Sendable, Equatable {
        /// Keep the id: it can be had again from the list only, and nothing there tells which is which.
        case created(ChannelID)
        case described(ChannelStoragePolicy)
        case deleted
        /// In the order of the answer; ids of a form that we do not know are left out, and counted.
        case listed([ChannelID], unreadable: Int)
        case published
        case refused(Refusal)
        /// A success that lacks what it must bring, such as the new channel's id.
        case malformed
    }

    /// APNs said no.
    public struct Refusal: Sendable, Equatable {
        public var reason: APNSReason
        /// The text of a reason that `APNSReason` does not know, at most 128 bytes.
        public var unknownReason: String?
        /// `Retry-After`, if the server sent it. Apple documents no such header.
        public var retryAfter: Duration?
    }

    public var status: UInt16
    public var disposition: Disposition
    /// Echo of the request's, or one that APNs has made.
    public var requestID: APNSID?
    /// For Apple's support, when there is one.
    public var uniqueID: String?

    /// Bytes of a body that can be an answer: 10,000 ids at their longest fit. Stop reading at more.
    public static let bodyBytesMax = APNSLimits.channelsMax * (ChannelID.lengthMax + 3) + 1024

    /// Reads an answer. Never fails: bodies that are empty, HTML, cut off or too long are refusals without a reason, or
    /// `malformed` after a success.
    ///
    /// - Parameters:
    ///   - headers: names in lower case, as HTTP/2 has them; of equal names the first counts.
    ///   - operation: of the request that it answers.
    public init(
        status: UInt16, headers: [ChannelRequest.HeaderField], body: [UInt8], to operation: ChannelRequest.Operation
    ) {
        func value(_ name: String) -> String? { headers.first { $0.name == name }?.value }
        self.status = status
        requestID = value("apns-request-id").flatMap { APNSID($0) }
        uniqueID = value("apns-unique-id")
        guard status == operation.successStatus else {
            disposition = .refused(
                Self.refusal(body: body, retryAfter: value("retry-after").flatMap { UInt32($0) }.map { .seconds($0) }))
            return
        }
        switch operation {
        case .create:
            disposition = value("apns-channel-id").flatMap { ChannelID($0) }.map(Disposition.created) ?? .malformed
        case .read: disposition = Self.policy(in: body).map(Disposition.described) ?? .malformed
        case .delete: disposition = .deleted
        case .list: disposition = Self.channels(in: body) ?? .malformed
        case .publish: disposition = .published
        }
    }

    // MARK: Bodies

    private static func refusal(body: [UInt8], retryAfter: Duration?) -> Refusal {
        var refusal = Refusal(reason: .none, retryAfter: retryAfter)
        body.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            let text = try? reader.value(of: "reason") { reader throws(JSONError) in
                reader.text(try reader.readString())
            }
            guard let text else { return }
            refusal.reason = APNSReason(label: text)
            if refusal.reason == .unknown { refusal.unknownReason = text.limited(toBytes: 128) }
        }
        return refusal
    }

    private static func policy(in body: [UInt8]) -> ChannelStoragePolicy? {
        body.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            let number = try? reader.value(of: "message-storage-policy") { reader throws(JSONError) in
                try reader.readInteger()
            }
            return number.flatMap { UInt8(exactly: $0) }.flatMap { ChannelStoragePolicy(rawValue: $0) }
        }
    }

    private static func channels(in body: [UInt8]) -> Disposition? {
        body.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            return try? reader.value(of: "channels") { reader throws(JSONError) in
                var found: [ChannelID] = []
                var unreadable = 0
                try reader.enterArray()
                var isFirst = true
                while try reader.nextElement(isFirst: isFirst) {
                    isFirst = false
                    if let id = ChannelID(reader.text(try reader.readString())) {
                        found.append(id)
                    } else {
                        unreadable += 1
                    }
                }
                return .listed(found, unreadable: unreadable)
            }
        }
    }
}

extension JSONReader {
    /// Reads the member `key` of an object by `read` and checks that the text ends well.
    ///
    /// - Returns: nil without such a member.
    fileprivate mutating func value<Value>(
        of key: StaticString, _ read: (inout JSONReader) throws(JSONError) -> Value
    ) throws(JSONError) -> Value? {
        var value: Value?
        try enterObject()
        var isFirst = true
        while let name = try nextKey(isFirst: isFirst) {
            isFirst = false
            if value == nil, equals(name.contents, key) { value = try read(&self) } else { try skipValue() }
        }
        try finish()
        return value
    }
}

extension String {
    /// The longest start of whole characters that fits.
    fileprivate func limited(toBytes bytesMax: Int) -> String {
        var text = Substring(self)
        while text.utf8.count > bytesMax { text.removeLast() }
        return String(text)
    }
}
