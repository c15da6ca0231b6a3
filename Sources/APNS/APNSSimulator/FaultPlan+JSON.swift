import APNSWire
import HTTP2Session

extension FaultPlan {
    /// Reads `{"rules": [...]}`. A rule is one object:
    ///
    /// | member | meaning |
    /// | --- | --- |
    /// | `token`, `topic` | hexadecimal first bytes of the device token; the whole topic |
    /// | `nth`, `every`, `probability` + `seed`, `times` | which of the matching pushes, see `FaultRule` |
    /// | `action` | `accept`, `answer`, `stall`, `reset`, `close` or `goaway` |
    /// | `delay_ms` | before the action |
    /// | `taken` | the push counts as delivered all the same |
    /// | `status`, `reason`, `retry_after`, `timestamp`, `body` | of an `answer` |
    /// | `code`, `last_stream`, `debug` | of a `reset` or `goaway`: RFC 9113's number or name; a stream id; any text |
    public init(json: [UInt8]) throws(ControlDocumentError) {
        let rules = try ControlDocument.parse(json) { document in
            var rules: [FaultRule]?
            try document.object("the document") { name, document in
                guard name == "rules" else { return false }
                rules = try Self.rules(&document)
                return true
            }
            guard let rules else { throw ControlDocumentError("the document has no \"rules\"") }
            return rules
        }
        self.init(rules)
    }

    private static func rules(_ document: inout ControlDocument) throws -> [FaultRule] {
        var rules: [FaultRule] = []
        try document.array("rules", countMax: rulesMax) { index, document in
            var rule = FaultRuleDocument(place: "rules[\(index)]")
            try document.object(rule.place) { try rule.read($0, &$1) }
            rules.append(try rule.rule())
        }
        return rules
    }
}

/// The members of one rule while they are read, in any order.
private struct FaultRuleDocument {
    let place: String
    private var matching = FaultRule(Fault(.stall))
    private var seed: UInt64 = 1
    private var action: String?
    private var delay: Duration = .zero
    private var isTaken = false
    private var answer = FaultAnswer(status: 0)
    private var code: UInt32?
    private var lastStream: Int32?
    private var debugData: [UInt8] = []
    private var names: Set<String> = []

    init(place: String) {
        self.place = place
    }

    mutating func read(_ name: String, _ document: inout ControlDocument) throws -> Bool {
        let place = "\(place).\(name)"
        names.insert(name)
        switch name {
        case "action": action = try document.string(place)
        case "delay_ms": delay = .milliseconds(try document.integer(place, 0...600_000))
        case "taken": isTaken = try document.boolean(place)
        case "code": code = try document.errorCode(place)
        case "last_stream": lastStream = Int32(try document.integer(place, 0...Int64(Int32.max)))
        case "debug": debugData = Array(try document.string(place).utf8)
        default: return try readMatch(name, place, &document) || readAnswer(name, place, &document)
        }
        return true
    }

    private mutating func readMatch(_ name: String, _ place: String, _ document: inout ControlDocument) throws -> Bool {
        switch name {
        case "token":
            guard let prefix = DeviceToken(hex: try document.string(place)) else {
                throw ControlDocumentError("\(place) must be an even number of hexadecimal digits, 200 at most")
            }
            matching.tokenPrefix = prefix.bytes
        case "topic": matching.topic = try document.string(place)
        case "nth": matching.nth = Int(try document.integer(place, 1...1_000_000_000))
        case "every": matching.every = Int(try document.integer(place, 1...1_000_000_000))
        case "times": matching.times = Int(try document.integer(place, 1...1_000_000_000))
        case "probability": matching.probability = try document.share(place)
        case "seed": seed = UInt64(try document.integer(place, 0...Int64.max))
        default: return false
        }
        return true
    }

    private mutating func readAnswer(_ name: String, _ place: String, _ document: inout ControlDocument) throws -> Bool
    {
        switch name {
        case "status": answer.status = UInt16(try document.integer(place, 200...599))
        case "reason": answer.reason = try document.string(place)
        case "retry_after": answer.retryAfter = UInt32(try document.integer(place, 0...86_400))
        case "timestamp": answer.timestamp = try document.integer(place, 0...Int64.max)
        case "body": answer.body = Array(try document.string(place).utf8)
        default: return false
        }
        return true
    }

    func rule() throws -> FaultRule {
        var rule = FaultRule(Fault(try kind(), delay: delay, isTaken: isTaken), seed: seed)
        rule.tokenPrefix = matching.tokenPrefix
        rule.topic = matching.topic
        rule.nth = matching.nth
        rule.every = matching.every
        rule.times = matching.times
        rule.probability = matching.probability
        return rule
    }

    private func kind() throws -> Fault.Kind {
        switch action {
        case "accept":
            try refuse(Self.answerNames + Self.frameNames, for: "accept")
            return .accept
        case "stall":
            try refuse(Self.answerNames + Self.frameNames, for: "stall")
            return .stall
        case "close":
            try refuse(Self.answerNames + Self.frameNames, for: "close")
            return .close
        case "answer":
            try refuse(Self.frameNames, for: "answer")
            guard answer.status != 0 else { throw ControlDocumentError("\(place) answers and has no \"status\"") }
            return .answer(answer)
        case "reset":
            try refuse(Self.answerNames + ["last_stream", "debug"], for: "reset")
            return .reset(code.map { HTTP2ErrorCode(rawValue: $0) } ?? .internalError)
        case "goaway":
            try refuse(Self.answerNames, for: "goaway")
            return try goAway()
        case nil: throw ControlDocumentError("\(place) has no \"action\"")
        default: throw ControlDocumentError("\(place).action must be accept, answer, stall, reset, close or goaway")
        }
    }

    private func goAway() throws -> Fault.Kind {
        if let lastStream, lastStream != 0, lastStream.isMultiple(of: 2) {
            throw ControlDocumentError("\(place).last_stream must be odd, as a client's streams are, or 0")
        }
        return .goAway(
            lastStream: lastStream, code: code.map { HTTP2ErrorCode(rawValue: $0) } ?? .noError, debugData: debugData
        )
    }

    private static let answerNames = ["status", "reason", "retry_after", "timestamp", "body"]
    private static let frameNames = ["code", "last_stream", "debug"]

    private func refuse(_ others: [String], for action: String) throws {
        guard let name = others.first(where: names.contains) else { return }
        throw ControlDocumentError("\(place): \"\(name)\" means nothing for the action \(action)")
    }
}

extension SimulatedTokenState {
    /// Reads `{"state": "unregistered" | "expired" | "bad" | "other-topic", "timestamp": ms}`.
    ///
    /// - Parameter now: the timestamp where the document has none, in UNIX milliseconds.
    init(json: [UInt8], now: Int64) throws(ControlDocumentError) {
        self = try ControlDocument.parse(json) { document in
            var state: String?
            var timestamp: Int64?
            try document.object("the document") { name, document in
                switch name {
                case "state": state = try document.string(name)
                case "timestamp": timestamp = try document.integer(name, 0...Int64.max)
                default: return false
                }
                return true
            }
            switch state {
            case "unregistered": return .unregistered(at: timestamp ?? now)
            case "expired": return .expired(at: timestamp ?? now)
            case "bad": return .bad
            case "other-topic": return .otherTopic
            case nil: throw ControlDocumentError("the document has no \"state\"")
            default: throw ControlDocumentError("state must be unregistered, expired, bad or other-topic")
            }
        }
    }
}
