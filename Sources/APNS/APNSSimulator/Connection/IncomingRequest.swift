import APNSWire

/// A request that is being received. Reused for later streams, so that its arrays keep their storage.
struct IncomingRequest {
    /// Fields that may occur only once.
    private enum Field: UInt16 {
        case method, path, authorization, id, expiration, priority, topic, pushType, collapseID
    }

    /// Fields of channel requests only.
    struct ChannelFields {
        /// The full path; empty for a push to a device.
        var path = ""
        var method = "POST"
        var channelID: String?
        var requestID: String?
    }

    /// The stream ID; 0 if the slot is free.
    private(set) var stream: Int32 = 0
    private(set) var problems = ReasonSet()
    private(set) var token: [UInt8] = []
    /// nil until the request provides one or the server generates one.
    var id: APNSID?
    private(set) var pushType: PushType?
    private(set) var priority: Priority?
    private(set) var expiration: Int64?
    private(set) var collapseID: [UInt8] = []
    /// Index into `TopicTable`; 0 if the request has no topic.
    private(set) var topic: UInt16 = 0
    private(set) var payload: [UInt8] = []
    private(set) var payloadBytes = 0
    private(set) var channel = ChannelFields()
    /// Whether a response or a fault has been chosen. Later data of the request is dropped.
    var isHandled = false
    /// Whether the header block is complete.
    var hasHeaders = false
    private var usesChannelFields = false
    private var seen: UInt16 = 0

    /// Whether the path belongs to channel management or a broadcast.
    var isChannelRequest: Bool {
        usesChannelFields && (channel.path.hasPrefix("/4/") || channel.path.hasPrefix("/1/"))
    }
    var hasPushType: Bool { has(.pushType) }
    var isAuthorized: Bool { has(.authorization) }

    mutating func begin(stream: Int32) {
        self.stream = stream
        problems = ReasonSet()
        seen = 0
        id = nil
        pushType = nil
        priority = nil
        expiration = nil
        topic = 0
        payloadBytes = 0
        isHandled = false
        hasHeaders = false
        if usesChannelFields {
            channel = ChannelFields()
            usesChannelFields = false
        }
        token.removeAll(keepingCapacity: true)
        collapseID.removeAll(keepingCapacity: true)
        payload.removeAll(keepingCapacity: true)
    }

    mutating func free() { stream = 0 }

    /// Parses one header field. `context` checks what depends on the connection.
    @inline(__always)
    mutating func header(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ context: inout ConnectionContext
    ) {
        switch name.count {
        case 5 where name.equals(":path"):
            markSeen(.path)
            readPath(value)
        case 7 where name.equals("apns-id"):
            markSeen(.id)
            id = APNSID(utf8: value)
            if id == nil { problems.insert(.badMessageId) }
        case 7 where name.equals(":method"):
            markSeen(.method)
            if !value.equals("POST") {
                problems.insert(.methodNotAllowed)
                setChannelField(\.method, value)
            }
        case 10 where name.equals("apns-topic"):
            markSeen(.topic)
            topic = context.topicIndex(of: value)
            if topic == 0 { problems.insert(.missingTopic) }
        case 13 where name.equals("authorization"):
            markSeen(.authorization)
            if let reason = context.authenticate(value) { problems.insert(reason) }
        case 13 where name.equals("apns-priority"):
            markSeen(.priority)
            readPriority(value)
        case 14 where name.equals("apns-push-type"):
            markSeen(.pushType)
            readPushType(value)
        case 15 where name.equals("apns-expiration"):
            markSeen(.expiration)
            expiration = Self.unsigned(value)
            if expiration == nil { problems.insert(.badExpirationDate) }
        case 15 where name.equals("apns-channel-id"): setChannelField(\.channelID, value)
        case 15 where name.equals("apns-request-id"): setChannelField(\.requestID, value)
        case 16 where name.equals("apns-collapse-id"):
            markSeen(.collapseID)
            if value.count > APNSLimits.collapseIDBytesMax {
                problems.insert(.badCollapseId)
            } else {
                collapseID.append(contentsOf: value)
            }
        default: break
        }
    }

    /// Appends a part of the body. Bytes beyond the largest payload limit are counted and dropped.
    mutating func data(_ bytes: UnsafeRawBufferPointer, isKept: Bool) {
        payloadBytes += bytes.count
        if isKept || isChannelRequest, payloadBytes <= PushType.voip.payloadBytesMax {
            payload.append(contentsOf: bytes)
        }
    }

    /// Checks the complete request for missing fields and invalid combinations.
    mutating func end(_ context: inout ConnectionContext) {
        if !has(.authorization), context.certificate == nil { problems.insert(.missingProviderToken) }
        if !has(.topic) {
            topic = context.defaultTopicIndex()
            if topic == 0 { problems.insert(.missingTopic) }
        }
        // Apple documents 10 as an error for `background`, but not its reason.
        if pushType == .background, priority == .immediate { problems.insert(.badPriority) }
        if topic != 0, !context.checkTopic(topic, pushType) { problems.insert(.topicDisallowed) }
        if payloadBytes == 0 { problems.insert(.payloadEmpty) }
        if payloadBytes > (pushType ?? .alert).payloadBytesMax { problems.insert(.payloadTooLarge) }
    }

    private func has(_ field: Field) -> Bool { seen & 1 << field.rawValue != 0 }

    @inline(__always)
    private mutating func markSeen(_ field: Field) {
        if has(field) { problems.insert(.duplicateHeaders) }
        seen |= 1 << field.rawValue
    }

    private mutating func readPath(_ value: UnsafeRawBufferPointer) {
        let prefix: StaticString = "/3/device/"
        let count = prefix.utf8CodeUnitCount
        if value.count >= count, UnsafeRawBufferPointer(rebasing: value[..<count]).equals(prefix) {
            let hex = UnsafeRawBufferPointer(rebasing: value[count...])
            if hex.isEmpty {
                problems.insert(.missingDeviceToken)
            } else if !DeviceToken.appendBytes(ofHex: hex, to: &token) {
                problems.insert(hex.contains(UInt8(ascii: "/")) ? .badPath : .badDeviceToken)
            }
        } else {
            problems.insert(value.equals("/3/device") ? .missingDeviceToken : .badPath)
            setChannelField(\.path, value)
        }
    }

    private mutating func setChannelField(
        _ path: WritableKeyPath<ChannelFields, String>, _ value: UnsafeRawBufferPointer
    ) {
        usesChannelFields = true
        channel[keyPath: path] = String(decoding: value, as: UTF8.self)
    }

    private mutating func setChannelField(
        _ path: WritableKeyPath<ChannelFields, String?>, _ value: UnsafeRawBufferPointer
    ) {
        usesChannelFields = true
        channel[keyPath: path] = String(decoding: value, as: UTF8.self)
    }

    private mutating func readPriority(_ value: UnsafeRawBufferPointer) {
        priority = Self.unsigned(value).flatMap { UInt8(exactly: $0) }.flatMap(Priority.init(rawValue:))
        if priority == nil { problems.insert(.badPriority) }
    }

    private mutating func readPushType(_ value: UnsafeRawBufferPointer) {
        pushType = value.equals("alert") ? .alert : PushType.allCases.first { value.equals($0.label) }
        if pushType == nil { problems.insert(.invalidPushType) }
    }

    /// Parses 1 to 18 decimal digits, which always fit 64 bits; nil for any other text.
    static func unsigned(_ text: UnsafeRawBufferPointer) -> Int64? {
        guard (1...18).contains(text.count) else { return nil }
        var number: Int64 = 0
        for byte in text {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            number = number * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        return number
    }
}
