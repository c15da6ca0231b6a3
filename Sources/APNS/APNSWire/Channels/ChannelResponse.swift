import JSONText

/// APNs' answer to a `ChannelRequest`.
public struct ChannelResponse: Sendable, Equatable {
    /// The result of the request.
    public enum Disposition: Sendable, Equatable {
        /// The channel was created. Store the ID: only the list returns it again, and its entries carry no other data.
        case created(ChannelID)
        case described(ChannelStoragePolicy)
        case deleted
        /// The channel IDs in APNs' order. IDs of an unknown form are left out and counted in `unreadable`.
        case listed([ChannelID], unreadable: Int)
        case published
        case refused(Refusal)
        /// A success without its required content, such as the ID of the new channel.
        case malformed
    }

    /// Why APNs refused the request.
    public struct Refusal: Sendable, Equatable {
        public var reason: APNSReason
        /// The verbatim text of a reason without a case in `APNSReason`, at most 128 bytes.
        public var unknownReason: String?
        /// `Retry-After`, if the answer had one. Apple documents no such header.
        public var retryAfter: Duration?
    }

    public var status: UInt16
    public var disposition: Disposition
    /// `apns-request-id`: the ID of the request, or one made by APNs if the request had none.
    public var requestID: APNSID?
    /// `apns-unique-id`, if present. Quote it to Apple's developer support.
    public var uniqueID: String?

    /// The largest body in bytes that can be valid: 10,000 IDs of the maximum length. Stop reading beyond it.
    public static let bodyBytesMax = APNSLimits.channelsMax * (ChannelID.lengthMax + 3) + 1024

    /// Parses an answer. Never fails: an empty, HTML, truncated or oversized body gives a refusal without a reason, or
    /// `malformed` if the status is a success.
    ///
    /// - Parameters:
    ///   - headers: names in lower case, as in HTTP/2; of duplicate names the first counts.
    ///   - operation: the operation of the request.
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
    /// Reads the member `key` of an object with `read`, and requires the text to end after the object.
    ///
    /// - Returns: nil if there is no such member.
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
    /// The longest prefix of whole characters that has at most `bytesMax` bytes of UTF-8.
    fileprivate func limited(toBytes bytesMax: Int) -> String {
        var text = Substring(self)
        while text.utf8.count > bytesMax { text.removeLast() }
        return String(text)
    }
}
