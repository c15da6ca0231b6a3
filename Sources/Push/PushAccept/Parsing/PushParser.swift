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
    /// The number of `device_tokens`; nil for a push with one `device_token`.
    package var tokenCount: Int?
    /// Whether the lint has warnings; `PushParser.warnings` has them.
    package var isWarned = false
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
    private let strict: Bool
    private let lints: Bool
    private var lint = PushLint()
    /// The rules of the lint that the last push violates.
    package private(set) var warnings: [LintCode] = []
    /// All findings of the lint in the push that `parse` has just refused because of one of them; otherwise empty.
    package private(set) var refusedFindings: [LintFinding] = []
    /// Where `device_tokens` of the last push begins.
    private var tokenListStart = 0
    /// `ttl` of the push that is being parsed.
    private var timeToLive: Int64?

    /// - Parameters:
    ///   - strict: a push with warnings is refused.
    ///   - lints: false: no push is linted. For measurements of its cost.
    package init(apps: AppDirectory, defaultLane: Lane, strict: Bool = false, lints: Bool = true) {
        self.apps = apps
        self.defaultLane = defaultLane
        self.strict = strict
        self.lints = lints
    }

    package enum Result: Sendable, Equatable {
        case push(ParsedPush)
        case refused(Refusal)
    }

    /// Parses `bytes`, which must contain one push, with optional white space around it or a byte order mark before it.
    ///
    /// - Parameter now: a `not_before` of this time or earlier means immediately, and an `expiration` is refused.
    package mutating func parse(_ bytes: UnsafeRawBufferPointer, now: WallTime) -> Result {
        var push = ParsedPush(lane: defaultLane)
        if !warnings.isEmpty { warnings = [] }
        if !refusedFindings.isEmpty { refusedFindings = [] }
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

    /// Reverts `admit`.
    func refund(_ push: ParsedPush, to devices: DeviceLimiter) {
        token.withUnsafeBytes { token in
            devices.refund(app: apps.apps[push.app].id, token: UnsafeRawBufferPointer(rebasing: token[..<tokenCount]))
        }
    }

    package func headers(of push: ParsedPush) -> NotificationHeaders {
        var headers = apps.sharedHeaders(app: push.app, pushType: push.pushType, priority: push.priority)
        if let topic = push.topic { headers.topic = topic }
        if let collapseID = push.collapseID { headers.collapseID = collapseID }
        return headers
    }

    // MARK: Many tokens

    /// The position in `device_tokens` of the push that `parse` has just returned.
    package struct TokenCursor {
        fileprivate var position: Int
        fileprivate var isFirst = true
    }

    package func tokenCursor() -> TokenCursor { TokenCursor(position: tokenListStart) }

    package enum NextToken: Sendable, Equatable {
        /// The push now has this token.
        case token
        case refused(Refusal)
    }

    /// Advances to the next of `device_tokens`.
    ///
    /// - Parameter bytes: as in `parse`.
    /// - Returns: nil at the end of the list.
    package mutating func nextToken(_ cursor: inout TokenCursor, in bytes: UnsafeRawBufferPointer) -> NextToken? {
        var reader = JSONReader(bytes, at: cursor.position)
        do throws(JSONError) {
            if cursor.isFirst { try reader.enterArray() }
            guard try reader.nextElement(isFirst: cursor.isFirst) else { return nil }
            let text = try reader.readString()
            cursor = TokenCursor(position: reader.position, isFirst: false)
            return decodeToken(text, in: reader) ? .token : .refused(Self.malformedToken(.deviceTokens))
        } catch {
            preconditionFailure("`parse` has validated the list")
        }
    }

    // MARK: The lint

    /// The texts of `warnings`.
    package func findings(_ push: ParsedPush, now: WallTime) -> [LintFinding] {
        lint.findings(lintPush(push), now: UNIXTime(secondsSince1970: now.seconds)).filter {
            warnings.contains($0.code)
        }
    }

    private func lintPush(_ push: ParsedPush) -> PushLint.Push {
        let bundleID = apps.apps[push.app].bundleID
        return PushLint.Push(
            pushType: push.pushType, priority: push.priority, collapseID: push.collapseID, topic: push.topic,
            bundleID: bundleID.isEmpty ? nil : bundleID,
            expiration: push.expiration == NotificationBatch.noExpiration ? nil : push.expiration
        )
    }

    private mutating func lint(_ push: inout ParsedPush, now: WallTime) -> Refusal? {
        let isPlain = push.topic == nil && push.collapseID == nil && push.expiration == NotificationBatch.noExpiration
        if isPlain, lint.isClean(push.pushType, push.priority) { return nil }
        let time = UNIXTime(secondsSince1970: now.seconds)
        let subject = lintPush(push)
        guard let report = lint.check(subject, now: time) else { return nil }
        if report.refusal != nil || strict {
            refusedFindings = lint.findings(subject, now: time)
            if let rule = report.refusal, let finding = refusedFindings.first(where: { $0.code == rule }) {
                return Refusal(.pushInvalid, field: Self.field(of: rule), .rule(finding))
            }
            if strict, let finding = refusedFindings.first {
                return Refusal(.pushWarned, field: Self.field(of: finding.code), .rule(finding))
            }
        }
        warnings = report.codes
        push.isWarned = true
        return nil
    }

    private static func field(of rule: LintCode) -> Refusal.Field {
        switch rule {
        case .topicEmpty, .topicCharacters, .topicSuffixMissing, .topicSuffixWrong, .topicSuffixDoubled, .topicBundle,
            .topicMDM:
            .known(.topic)
        case .priorityRefused, .priorityUnusual, .priorityMissing: .known(.priority)
        case .expirationNegative, .expirationPast, .expirationMilliseconds, .expirationFar, .voipExpiration,
            .pushToTalkExpiration:
            .known(.expiration)
        case .collapseIDLong, .collapseIDEmpty, .collapseIDCharacters: .known(.collapseID)
        default: .known(.payload)
        }
    }

    // MARK: The object

    private struct SeenFields {
        private var bits: UInt32 = 0
        mutating func insert(_ field: PushField) -> Bool {
            // Fields that exclude each other share a bit, so that a push with both is refused.
            let bit: UInt32 =
                switch field {
                case .deviceToken, .deviceID, .deviceTokens: 1
                case .payload, .message: 2
                case .app: 4
                case .pushType: 8
                case .topic: 16
                case .priority: 32
                case .expiration, .ttl: 64
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
        var reader = JSONReader(bytes, at: ByteOrderMark.length(in: bytes))
        switch try reader.peekKind() {
        case .object: break
        case .array:
            return Refusal(
                .wrongType, .text("a push must be a JSON object; send an array of pushes to /push/batch"))
        default: return Refusal(.wrongType, .text("a push must be a JSON object"))
        }
        try reader.enterObject()
        var seen = SeenFields()
        timeToLive = nil
        var isFirst = true
        while let key = try reader.nextKey(isFirst: isFirst) {
            isFirst = false
            guard let field = Self.field(key, in: reader) else {
                // A token or key may stand where a name belongs.
                let name = SecretText.masked(String(decoding: reader.text(key).utf8.prefix(64), as: UTF8.self))
                return Refusal(.unknownField, field: .unknown(name), .text(PushField.advice(forUnknown: name)))
            }
            if try reader.peekKind() == .null {
                // As if the field were absent: many languages write null for an optional value.
                try reader.readNull()
                continue
            }
            guard seen.insert(field) else { return .badField(field, Self.duplicateText(field)) }
            if let refusal = try read(field, from: &reader, into: &push) { return refusal }
        }
        try reader.finish()
        return complete(&push, seen: seen, now: now)
    }

    private static func duplicateText(_ field: PushField) -> String {
        switch field {
        case .deviceToken, .deviceID, .deviceTokens:
            "given twice; device_token, its other name device_id, and device_tokens exclude each other"
        case .payload, .message: "given twice; payload and message exclude each other"
        case .expiration, .ttl: "given twice; expiration and ttl exclude each other"
        default: "given twice"
        }
    }

    /// Applies the defaults and checks that depend on several fields.
    private mutating func complete(_ push: inout ParsedPush, seen: SeenFields, now: WallTime) -> Refusal? {
        guard seen.hasToken else {
            return Refusal(.missingField, field: .known(.deviceToken), .text("required, or device_tokens"))
        }
        guard seen.hasPayload else {
            return Refusal(.missingField, field: .known(.payload), .text("required, or message"))
        }
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
        if let ttl = timeToLive {
            // From when the push is due; otherwise a scheduled push could not have a short one.
            push.expiration = ttl == 0 ? 0 : max(now.seconds, push.notBefore) + ttl
        } else if push.expiration > 0 {
            guard push.expiration > now.seconds else {
                return .badField(.expiration, "is in the past; leave it out, or send 0 for a single attempt")
            }
            guard push.notBefore < push.expiration else {
                return .badField(.expiration, "must be after not_before, otherwise the push could never be sent")
            }
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
        return lints ? lint(&push, now: now) : nil
    }

    // MARK: The fields

    private mutating func read(
        _ field: PushField, from reader: inout JSONReader, into push: inout ParsedPush
    ) throws(JSONError) -> Refusal? {
        let kind = try reader.peekKind()
        switch field {
        case .payload: return try readPayload(kind, from: &reader, into: &push)
        case .message: return try readMessage(kind, from: &reader, into: &push)
        case .deviceTokens: return try readTokens(kind, from: &reader, into: &push)
        case .priority, .expiration, .ttl, .notBefore, .timestamp:
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

    private mutating func apply(_ value: Int64, to field: PushField, of push: inout ParsedPush) -> Refusal? {
        switch field {
        case .priority:
            guard let raw = UInt8(exactly: value), let priority = Priority(rawValue: raw) else {
                return .badField(field, "must be 10, 5 or 1")
            }
            push.priority = priority
        case .expiration:
            guard (0...Self.secondsMax).contains(value) else { return .badField(field, "must be UNIX seconds, or 0") }
            push.expiration = value
        case .ttl:
            guard (0...Self.ttlMax).contains(value) else {
                return .badField(field, "must be 0 to \(Self.ttlMax) seconds")
            }
            timeToLive = value
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
    /// A year in seconds. APNs stores a push for 30 days at most, which the lint reports.
    private static let ttlMax: Int64 = 366 * 86_400

    private mutating func apply(
        _ string: (contents: Range<Int>, isEscaped: Bool), in reader: JSONReader, to field: PushField,
        of push: inout ParsedPush
    ) -> Refusal? {
        reader.withBytes(of: string) { apply($0, to: field, of: &push) }
    }

    private mutating func apply(
        _ text: UnsafeRawBufferPointer, to field: PushField, of push: inout ParsedPush
    ) -> Refusal? {
        switch field {
        case .deviceToken, .deviceID:
            guard decodeToken(text) else { return Self.malformedToken(field) }
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

    private static func malformedToken(_ field: PushField) -> Refusal {
        Refusal(
            .malformedToken, field: .known(field),
            .text("must be 2 to \(APNSLimits.deviceTokenBytesMax * 2) hexadecimal digits, an even number")
        )
    }

    private mutating func decodeToken(_ text: JSONReader.Text, in reader: JSONReader) -> Bool {
        reader.withBytes(of: text) { decodeToken($0) }
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

    /// Validates the list. `nextToken` decodes it.
    private mutating func readTokens(
        _ kind: JSONReader.Kind, from reader: inout JSONReader, into push: inout ParsedPush
    ) throws(JSONError) -> Refusal? {
        guard kind == .array else { return .wrongType(.deviceTokens, "must be an array of strings") }
        tokenListStart = reader.position
        try reader.enterArray()
        var count = 0
        while try reader.nextElement(isFirst: count == 0) {
            guard try reader.peekKind() == .string else {
                return .wrongType(.deviceTokens, "must be an array of strings")
            }
            _ = try reader.readString()
            count += 1
            guard count <= Self.tokensMax else {
                return .badField(.deviceTokens, "has more than \(Self.tokensMax) tokens; send them in several items")
            }
        }
        guard count > 0 else { return .badField(.deviceTokens, "must have at least one token") }
        push.tokenCount = count
        return nil
    }

    /// The largest number of `device_tokens`.
    package static let tokensMax = 1000

    private mutating func readPayload(
        _ kind: JSONReader.Kind, from reader: inout JSONReader, into push: inout ParsedPush
    ) throws(JSONError) -> Refusal? {
        switch kind {
        case .object:
            push.payload = .input(lints ? try lint.readPayload(&reader) : try reader.skipValue())
            return nil
        case .string:
            let string = try reader.readString()
            scratch.removeAll(keepingCapacity: true)
            reader.appendUnescaped(string.contents, to: &scratch)
            do throws(JSONError) {
                push.payload = .scratch(try objectRangeInScratch())
                return nil
            } catch {
                return Refusal(.payloadInvalid, field: .known(.payload), .json(error))
            }
        case .array, .number, .boolean, .null:
            return .wrongType(.payload, "must be an object, or a string that contains one")
        }
    }

    private mutating func readMessage(
        _ kind: JSONReader.Kind, from reader: inout JSONReader, into push: inout ParsedPush
    ) throws(JSONError) -> Refusal? {
        guard kind == .string else {
            return .wrongType(.message, "must be a string, the text of an alert; send an object as payload")
        }
        let string = try reader.readString()
        // The contents of a JSON string are valid contents of another JSON string.
        scratch.removeAll(keepingCapacity: true)
        JSONWriter.append(#"{"aps":{"alert":""#, to: &scratch)
        scratch.append(contentsOf: UnsafeRawBufferPointer(rebasing: reader.bytes[string.contents]))
        JSONWriter.append(#""}}"#, to: &scratch)
        push.payload = .scratch(try objectRangeInScratch())
        return nil
    }

    private mutating func objectRangeInScratch() throws(JSONError) -> Range<Int> {
        // `Array.withUnsafeBytes` of the standard library does not support typed throws.
        let result: Swift.Result<Range<Int>, JSONError> = scratch.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            do throws(JSONError) {
                guard try reader.peekKind() == .object else {
                    return .failure(JSONError(kind: .unexpectedByte, offset: reader.position))
                }
                let range = lints ? try lint.readPayload(&reader) : try reader.skipValue()
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
        case 3:
            if reader.equals(range, "app") { return .app }
            return reader.equals(range, "ttl") ? .ttl : nil
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
        case 13:
            if reader.equals(range, "device_tokens") { return .deviceTokens }
            return reader.equals(range, "on_unanswered") ? .onUnanswered : nil
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
