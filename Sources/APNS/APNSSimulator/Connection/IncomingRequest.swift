import APNSWire

/// One request as it comes in, field by field. Used again for later streams: its arrays keep their storage.
struct IncomingRequest {
    /// The fields whose repetition is an error.
    private enum Field: UInt16 {
        case method, path, authorization, id, expiration, priority, topic, pushType, collapseID
    }

    /// What only requests about channels have.
    struct ChannelFields {
        /// The whole path; empty for a push to a device.
        var path = ""
        var method = "POST"
        var channelID: String?
        var requestID: String?
    }

    /// 0: the slot is free.
    private(set) var stream: Int32 = 0
    private(set) var problems = ReasonSet()
    private(set) var token: [UInt8] = []
    /// nil until the request names one or the server makes one up.
    var id: APNSID?
    private(set) var pushType: PushType?
    private(set) var priority: Priority?
    private(set) var expiration: Int64?
    private(set) var collapseID: [UInt8] = []
    /// Index into `TopicTable`; 0 when there is none.
    private(set) var topic: UInt16 = 0
    private(set) var payload: [UInt8] = []
    private(set) var payloadBytes = 0
    private(set) var channel = ChannelFields()
    /// It has been judged, or a fault has taken care of it; what still arrives of it is dropped.
    var isSettled = false
    /// Its header block is complete.
    var hasHeaders = false
    private var usesChannelFields = false
    private var seen: UInt16 = 0

    /// Whether it is about a channel, not about a device.
    var isAboutChannel: Bool {
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
        isSettled = false
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

    /// Takes one header field. `context` judges what depends on the connection.
    @inline(__always)
    mutating func header(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ context: inout ConnectionContext
    ) {
        switch name.count {
        case 5 where name.equals(":path"):
            note(.path)
            readPath(value)
        case 7 where name.equals("apns-id"):
            note(.id)
            id = APNSID(utf8: value)
            if id == nil { problems.insert(.badMessageId) }
        case 7 where name.equals(":method"):
            note(.method)
            if !value.equals("POST") {
                problems.insert(.methodNotAllowed)
                setChannelField(\.method, value)
            }
        case 10 where name.equals("apns-topic"):
            note(.topic)
            topic = context.topicIndex(of: value)
            if topic == 0 { problems.insert(.missingTopic) }
        case 13 where name.equals("authorization"):
            note(.authorization)
            if let reason = context.authenticate(value) { problems.insert(reason) }
        case 13 where name.equals("apns-priority"):
            note(.priority)
            readPriority(value)
        case 14 where name.equals("apns-push-type"):
            note(.pushType)
            readPushType(value)
        case 15 where name.equals("apns-expiration"):
            note(.expiration)
            expiration = Self.unsigned(value)
            if expiration == nil { problems.insert(.badExpirationDate) }
        case 15 where name.equals("apns-channel-id"): setChannelField(\.channelID, value)
        case 15 where name.equals("apns-request-id"): setChannelField(\.requestID, value)
        case 16 where name.equals("apns-collapse-id"):
            note(.collapseID)
            if value.count > APNSLimits.collapseIDBytesMax {
                problems.insert(.badCollapseId)
            } else {
                collapseID.append(contentsOf: value)
            }
        default: break
        }
    }

    /// Takes a part of the body; what exceeds every limit is counted and dropped.
    mutating func data(_ bytes: UnsafeRawBufferPointer, isKept: Bool) {
        payloadBytes += bytes.count
        if isKept || isAboutChannel, payloadBytes <= PushType.voip.payloadBytesMax { payload.append(contentsOf: bytes) }
    }

    /// The whole request is there: what is missing and what does not go together.
    mutating func end(_ context: inout ConnectionContext) {
        if !has(.authorization), context.certificate == nil { problems.insert(.missingProviderToken) }
        if !has(.topic) {
            topic = context.defaultTopicIndex()
            if topic == 0 { problems.insert(.missingTopic) }
        }
        // Apple: 10 is an error for `background`; which reason it brings is not documented.
        if pushType == .background, priority == .immediate { problems.insert(.badPriority) }
        if topic != 0, !context.isTopicAllowed(topic, pushType) { problems.insert(.topicDisallowed) }
        if payloadBytes == 0 { problems.insert(.payloadEmpty) }
        if payloadBytes > (pushType ?? .alert).payloadBytesMax { problems.insert(.payloadTooLarge) }
    }

    private func has(_ field: Field) -> Bool { seen & 1 << field.rawValue != 0 }

    @inline(__always)
    private mutating func note(_ field: Field) {
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

    /// Decimal digits and nothing else; nil too for a number that 64 bits do not hold.
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
