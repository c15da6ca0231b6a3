package import APNSWire
import JSONText
package import PushModel

/// A parsed push: its values, and the location of its payload.
package struct ParsedPush: Sendable, Equatable {
    package enum PayloadLocation: Sendable, Equatable {
        /// In the parsed bytes.
        case input(Range<Int>)
        /// In the scratch buffer of the parser.
        case scratch(Range<Int>)
    }

    /// Index into `AppDirectory.apps`.
    package var app = 0
    /// One of the environments of the app.
    package var environment = APNSEnvironment.production
    package var payload = PayloadLocation.input(0..<0)
    package var pushType = PushType.alert
    package var priority: Priority?
    /// UNIX seconds, or `NotificationBatch.noExpiration`.
    package var expiration = NotificationBatch.noExpiration
    /// UNIX seconds, in the future. 0: immediately.
    package var notBefore: Int64 = 0
    /// The `DueWindow` of `notBefore`. 0: immediately.
    package var dueWindow: Int64 = 0
    package var lane: Lane
    package var topic: String?
    package var collapseID: String?
    package var ambiguity = AmbiguityPolicy.resend
}

/// Parses one push from JSON in one pass, without an allocation for a push without `topic` and `collapse_id`.
///
/// The payload is validated and passed on verbatim, as a range of the input. Only a payload within a string is
/// unescaped, into a scratch buffer that the next push reuses.
package struct PushParser {
    let apps: AppDirectory
    /// The lane of pushes that name none and whose type is not urgent.
    let defaultLane: Lane
    /// The raw token of the last push.
    private var token = [UInt8](repeating: 0, count: APNSLimits.deviceTokenBytesMax)
    private var tokenCount = 0
    private var scratch: [UInt8] = []
    private var lastApp = 0

    package init(apps: AppDirectory, defaultLane: Lane) {
        self.apps = apps
        self.defaultLane = defaultLane
    }

    package enum Result: Sendable, Equatable {
        case push(ParsedPush)
        case refused(Refusal)
    }

    /// Parses `bytes`, which must contain one push, with optional white space around it.
    ///
    /// - Parameter now: a `not_before` of this time or earlier means immediately.
    package mutating func parse(_ bytes: UnsafeRawBufferPointer, now: WallTime) -> Result {
        var push = ParsedPush(lane: defaultLane)
        do throws(JSONError) {
            if let refusal = try scan(bytes, into: &push, now: now) { return .refused(refusal) }
        } catch {
            return .refused(Refusal(.invalidJSON, .json(error)))
        }
        return .push(push)
    }

    /// Calls `body` with the token and the payload of the push that `parse` has just returned.
    package func withColumns<Value>(
        of push: ParsedPush, in bytes: UnsafeRawBufferPointer,
        _ body: (_ token: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) -> Value
    ) -> Value {
        token.withUnsafeBytes { token in
            let token = UnsafeRawBufferPointer(rebasing: token[..<tokenCount])
            switch push.payload {
            case .input(let range): return body(token, UnsafeRawBufferPointer(rebasing: bytes[range]))
            case .scratch(let range):
                return scratch.withUnsafeBytes { body(token, UnsafeRawBufferPointer(rebasing: $0[range])) }
            }
        }
    }

    /// Counts the push that `parse` has just returned, unless it exceeds the limit of its device.
    ///
    /// - Returns: the refusal; nil if the push is admitted.
    func admit(_ push: ParsedPush, by devices: DeviceLimiter) -> Refusal? {
        token.withUnsafeBytes { token in
            devices.admit(app: apps.apps[push.app].id, token: UnsafeRawBufferPointer(rebasing: token[..<tokenCount]))
        }
    }

    package func headers(of push: ParsedPush) -> NotificationHeaders {
        var headers = apps.sharedHeaders(app: push.app, pushType: push.pushType, priority: push.priority)
        if let topic = push.topic { headers.topic = topic }
        if let collapseID = push.collapseID { headers.collapseID = collapseID }
        return headers
    }

    // MARK: The object

    private struct SeenFields {
        private var bits: UInt16 = 0
        mutating func insert(_ field: PushField) -> Bool {
            // Both names of a field share a bit, so that a push with both is refused.
            let bit: UInt16 =
                switch field {
                case .deviceToken, .deviceID: 1
                case .payload, .message: 2
                case .app: 4
                case .pushType: 8
                case .topic: 16
                case .priority: 32
                case .expiration: 64
                case .collapseID: 128
                case .notBefore: 256
                case .lane: 512
                case .timestamp: 1024
                case .onUnanswered: 2048
                case .environment: 4096
                }
            defer { bits |= bit }
            return bits & bit == 0
        }
        var hasToken: Bool { bits & 1 != 0 }
        var hasPayload: Bool { bits & 2 != 0 }
        var hasApp: Bool { bits & 4 != 0 }
        var hasExpiration: Bool { bits & 64 != 0 }
        var hasLane: Bool { bits & 512 != 0 }
        var hasEnvironment: Bool { bits & 4096 != 0 }
    }

    /// - Returns: why the push is refused; nil if it is valid.
    /// - Throws: for malformed JSON.
    private mutating func scan(
        _ bytes: UnsafeRawBufferPointer, into push: inout ParsedPush, now: WallTime
    ) throws(JSONError) -> Refusal? {
        var reader = JSONReader(bytes)
        guard try reader.peekKind() == .object else {
            return Refusal(.wrongType, .text("a push must be a JSON object"))
        }
        try reader.enterObject()
        var seen = SeenFields()
        var isFirst = true
        while let key = try reader.nextKey(isFirst: isFirst) {
            isFirst = false
            guard let field = Self.field(key, in: reader) else {
                let name = String(decoding: reader.text(key).utf8.prefix(64), as: UTF8.self)
                return Refusal(.unknownField, field: .unknown(name), .text("there is no such field"))
            }
            guard seen.insert(field) else { return .badField(field, Self.duplicateText(field)) }
            if let refusal = try read(field, from: &reader, into: &push) { return refusal }
        }
        try reader.finish()
        return complete(&push, seen: seen, now: now)
    }

    private static func duplicateText(_ field: PushField) -> String {
        switch field {
        case .deviceToken, .deviceID: "given twice; device_token and device_id are two names of one field"
        case .payload, .message: "given twice; payload and message are two names of one field"
        default: "given twice"
        }
    }

    /// Applies the defaults and checks that depend on several fields.
    private func complete(_ push: inout ParsedPush, seen: SeenFields, now: WallTime) -> Refusal? {
        guard seen.hasToken else {
            return Refusal(.missingField, field: .known(.deviceToken), .text("required"))
        }
        guard seen.hasPayload else { return Refusal(.missingField, field: .known(.payload), .text("required")) }
        if !seen.hasApp {
            guard let app = apps.defaultIndex else {
                return Refusal(
                    .missingField, field: .known(.app), .text("required, because several apps are configured"))
            }
            push.app = app
        }
        let named = seen.hasEnvironment ? push.environment : nil
        guard let environment = apps.environment(ofAppAt: push.app, named: named) else {
            return .badField(
                .environment,
                "the app has no environment \(push.environment.label); add it to environments in the app's configuration"
            )
        }
        push.environment = environment
        if push.pushType == .voip || push.pushType == .pushtotalk {
            if !seen.hasLane { push.lane = .urgent }
            // A call is useless later: APNs tries once and does not store it.
            if !seen.hasExpiration { push.expiration = 0 }
        }
        if push.pushType == .background, push.priority == nil { push.priority = .conserving }
        if push.expiration > 0, push.notBefore >= push.expiration {
            return .badField(.expiration, "must be after not_before, otherwise the push could never be sent")
        }
        if WallTime(seconds: push.notBefore) <= now {
            push.notBefore = 0
        } else {
            push.dueWindow = DueWindow.start(of: push.notBefore, now: now.seconds)
        }
        let count =
            switch push.payload {
            case .input(let range), .scratch(let range): range.count
            }
        guard count <= push.pushType.payloadBytesMax else {
            return Refusal(
                .payloadTooLarge, field: .known(.payload),
                .size(
                    "the payload of a push of type \(push.pushType)", given: count, max: push.pushType.payloadBytesMax)
            )
        }
        return nil
    }

    // MARK: The fields

    private mutating func read(
        _ field: PushField, from reader: inout JSONReader, into push: inout ParsedPush
    ) throws(JSONError) -> Refusal? {
        let kind = try reader.peekKind()
        switch field {
        case .payload, .message:
            return try readPayload(field, kind, from: &reader, into: &push)
        case .priority, .expiration, .notBefore, .timestamp:
            guard kind == .number else { return .wrongType(field, "must be an integer") }
            let value: Int64
            do throws(JSONError) {
                value = try reader.readInteger()
            } catch {
                if error.kind == .notAnInteger { return .wrongType(field, "must be an integer") }
                throw error
            }
            return apply(value, to: field, of: &push)
        case .deviceToken, .deviceID, .app, .environment, .pushType, .topic, .collapseID, .lane, .onUnanswered:
            guard kind == .string else { return .wrongType(field, "must be a string") }
            let string = try reader.readString()
            return apply(string, in: reader, to: field, of: &push)
        }
    }

    private func apply(_ value: Int64, to field: PushField, of push: inout ParsedPush) -> Refusal? {
        switch field {
        case .priority:
            guard let raw = UInt8(exactly: value), let priority = Priority(rawValue: raw) else {
                return .badField(field, "must be 10, 5 or 1")
            }
            push.priority = priority
        case .expiration:
            guard (0...Self.secondsMax).contains(value) else { return .badField(field, "must be UNIX seconds, or 0") }
            push.expiration = value
        case .notBefore:
            guard (0...Self.secondsMax).contains(value) else { return .badField(field, "must be UNIX seconds") }
            push.notBefore = value
        default:
            guard value >= 0 else { return .badField(field, "must be a UNIX time, not negative") }
        }
        return nil
    }

    /// The end of the year 9999, so that a time in milliseconds (from 1978 on) is refused.
    private static let secondsMax: Int64 = 253_402_300_799

    private mutating func apply(
        _ string: (contents: Range<Int>, isEscaped: Bool), in reader: JSONReader, to field: PushField,
        of push: inout ParsedPush
    ) -> Refusal? {
        if string.isEscaped {
            var unescaped: [UInt8] = []
            reader.appendUnescaped(string.contents, to: &unescaped)
            return unescaped.withUnsafeBytes { apply($0, to: field, of: &push) }
        }
        return apply(UnsafeRawBufferPointer(rebasing: reader.bytes[string.contents]), to: field, of: &push)
    }

    private mutating func apply(
        _ text: UnsafeRawBufferPointer, to field: PushField, of push: inout ParsedPush
    ) -> Refusal? {
        switch field {
        case .deviceToken, .deviceID:
            guard decodeToken(text) else {
                return Refusal(
                    .badDeviceToken, field: .known(field),
                    .text("must be 2 to \(APNSLimits.deviceTokenBytesMax * 2) hexadecimal digits, an even number")
                )
            }
        case .app:
            guard let app = apps.index(of: text, likely: lastApp) else {
                return Refusal(.unknownApp, field: .known(.app), .text("no app of this name is configured"))
            }
            push.app = app
            lastApp = app
        case .environment:
            guard let environment = APNSEnvironment(label: String(decoding: text, as: UTF8.self)) else {
                return .badField(field, "must be production or sandbox")
            }
            push.environment = environment
        case .pushType:
            guard let type = PushType.allCases.first(where: { Self.isEqual(text, $0.label) }) else {
                return .badField(
                    field, "must be one of " + PushType.allCases.map(\.description).joined(separator: ", "))
            }
            push.pushType = type
        case .topic:
            guard (1...255).contains(text.count), text.allSatisfy(Self.isTopicByte) else {
                return .badField(field, "must be 1 to 255 letters, digits, dots, hyphens and underscores")
            }
            push.topic = String(decoding: text, as: UTF8.self)
        case .collapseID:
            // The value becomes a header field, so characters that could end or change the field are refused (RFC 9110,
            // 5.5).
            guard (1...APNSLimits.collapseIDBytesMax).contains(text.count),
                text.allSatisfy({ (0x20...0x7E).contains($0) }),
                text.first != 0x20, text.last != 0x20
            else { return .badField(field, "must be 1 to 64 printable ASCII characters, no space at either end") }
            push.collapseID = String(decoding: text, as: UTF8.self)
        case .onUnanswered:
            guard let policy = AmbiguityPolicy(label: String(decoding: text, as: UTF8.self)) else {
                return .badField(field, "must be " + AmbiguityPolicy.allCases.map(\.label).joined(separator: " or "))
            }
            push.ambiguity = policy
        default:
            guard let lane = Lane(label: String(decoding: text, as: UTF8.self)) else {
                return .badField(field, "must be urgent, normal or bulk")
            }
            push.lane = lane
        }
        return nil
    }

    private mutating func decodeToken(_ hex: UnsafeRawBufferPointer) -> Bool {
        guard hex.count >= 2, hex.count.isMultiple(of: 2), hex.count / 2 <= APNSLimits.deviceTokenBytesMax else {
            return false
        }
        tokenCount = hex.count / 2
        return token.withUnsafeMutableBytes { token in
            for index in 0..<hex.count / 2 {
                guard let high = Hex.value(hex[index * 2]), let low = Hex.value(hex[index * 2 + 1]) else {
                    return false
                }
                token[index] = high << 4 | low
            }
            return true
        }
    }

    private mutating func readPayload(
        _ field: PushField, _ kind: JSONReader.Kind, from reader: inout JSONReader, into push: inout ParsedPush
    ) throws(JSONError) -> Refusal? {
        switch kind {
        case .object:
            push.payload = .input(try reader.skipValue())
            return nil
        case .string:
            let string = try reader.readString()
            scratch.removeAll(keepingCapacity: true)
            reader.appendUnescaped(string.contents, to: &scratch)
            do throws(JSONError) {
                push.payload = .scratch(try Self.objectRange(in: scratch))
                return nil
            } catch {
                guard field == .message else {
                    return Refusal(.payloadInvalid, field: .known(field), .json(error))
                }
            }
            // The contents of a JSON string are valid contents of another JSON string.
            scratch.removeAll(keepingCapacity: true)
            JSONWriter.append(#"{"aps":{"alert":""#, to: &scratch)
            scratch.append(contentsOf: UnsafeRawBufferPointer(rebasing: reader.bytes[string.contents]))
            JSONWriter.append(#""}}"#, to: &scratch)
            push.payload = .scratch(0..<scratch.count)
            return nil
        case .array, .number, .boolean, .null:
            return .wrongType(field, "must be an object, or a string that contains one")
        }
    }

    private static func objectRange(in bytes: [UInt8]) throws(JSONError) -> Range<Int> {
        // `Array.withUnsafeBytes` of the standard library does not support typed throws.
        let result: Swift.Result<Range<Int>, JSONError> = bytes.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            do throws(JSONError) {
                guard try reader.peekKind() == .object else {
                    return .failure(JSONError(kind: .unexpectedByte, offset: reader.position))
                }
                let range = try reader.skipValue()
                try reader.finish()
                return .success(range)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    // MARK: Names

    private static func field(_ key: (contents: Range<Int>, isEscaped: Bool), in reader: JSONReader) -> PushField? {
        if key.isEscaped { return PushField(rawValue: reader.text(key)) }
        let range = key.contents
        switch range.count {
        case 3: return reader.equals(range, "app") ? .app : nil
        case 4: return reader.equals(range, "lane") ? .lane : nil
        case 5: return reader.equals(range, "topic") ? .topic : nil
        case 7:
            if reader.equals(range, "payload") { return .payload }
            return reader.equals(range, "message") ? .message : nil
        case 8: return reader.equals(range, "priority") ? .priority : nil
        case 9:
            if reader.equals(range, "device_id") { return .deviceID }
            if reader.equals(range, "push_type") { return .pushType }
            return reader.equals(range, "timestamp") ? .timestamp : nil
        case 10:
            if reader.equals(range, "expiration") { return .expiration }
            return reader.equals(range, "not_before") ? .notBefore : nil
        case 11:
            if reader.equals(range, "environment") { return .environment }
            return reader.equals(range, "collapse_id") ? .collapseID : nil
        case 12: return reader.equals(range, "device_token") ? .deviceToken : nil
        case 13: return reader.equals(range, "on_unanswered") ? .onUnanswered : nil
        default: return nil
        }
    }

    private static func isEqual(_ text: UnsafeRawBufferPointer, _ label: StaticString) -> Bool {
        text.elementsEqual(UnsafeBufferPointer(start: label.utf8Start, count: label.utf8CodeUnitCount))
    }

    private static func isTopicByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
