import APNSWire
import HTTP2Session

extension FaultPlan {
    /// Parses `{"rules": [...]}`, in JSON or YAML. `docs/simulator/README.md` lists the members of a rule.
    ///
    /// - Throws: `ControlDocumentError` with every problem and its line.
    public init(document bytes: [UInt8]) throws(ControlDocumentError) {
        self.init(
            try DocumentReader.read(bytes) { reader in
                guard let members = reader.members() else { return [] }
                if !members.has("rules") { reader.report("\(reader.name) has no \"rules\"") }
                let rules = members("rules").map(FaultPlan.rules) ?? []
                members.finish()
                return rules
            }
        )
    }

    static func rules(_ reader: DocumentReader) -> [FaultRule] {
        reader.elements(countMax: rulesMax).compactMap { element in
            element.members().flatMap { FaultRuleReader($0).rule() }
        }
    }
}

/// Parses one rule.
struct FaultRuleReader {
    private let members: MemberReader

    init(_ members: MemberReader) {
        self.members = members
    }

    private var reader: DocumentReader { members.reader }

    func rule() -> FaultRule? {
        let delay = members("delay")?.duration() ?? .zero
        let isTaken = members("taken")?.boolean() ?? false
        let seed = members("seed")?.integer(0...Int64.max) ?? 1
        let action = FaultActionReader(members)
        let kind = action.kind()
        var rule = FaultRule(Fault(kind ?? .stall, delay: delay, isTaken: isTaken), seed: UInt64(seed))
        readMatchers(&rule)
        readSchedule(&rule)
        members.finish()
        guard let kind else { return nil }
        if !kind.isPossible(at: rule.trigger) {
            reader.report("\(reader.name): the action \(kind.name) is not possible with on: \(rule.trigger.rawValue)")
        }
        if rule.trigger != .push, rule.request != nil {
            reader.report("\(reader.name): \"request\" needs on: push; use \"request_on_connection\" instead")
        }
        return rule
    }

    private func readMatchers(_ rule: inout FaultRule) {
        if let token = members("token"), let text = token.string() {
            if let prefix = DeviceToken(hex: text) {
                rule.tokenPrefix = prefix.bytes
            } else {
                token.report("\(token.name) must be an even number of hexadecimal digits, at most 200")
            }
        }
        rule.tokenPattern = members("token_pattern")?.tokenPattern()
        rule.topic = members("topic")?.string()
        rule.connection = members("connection")?.numbers()
        rule.requestOnConnection = members("request_on_connection")?.numbers()
        rule.request = members("request")?.numbers()
    }

    private func readSchedule(_ rule: inout FaultRule) {
        let triggers = FaultTrigger.allCases.map { ($0.rawValue, $0) }
        if let trigger: FaultTrigger = members("on")?.choice(triggers) { rule.trigger = trigger }
        rule.after = members("after")?.duration() ?? .zero
        rule.duration = members("for")?.duration()
        rule.nth = members("nth")?.count()
        rule.every = members("every")?.count()
        rule.times = members("times")?.count()
        rule.probability = members("probability")?.share()
    }
}

extension DocumentReader {
    func tokenPattern() -> TokenPattern? {
        guard let text = string() else { return nil }
        guard let pattern = TokenPattern(text) else {
            report("\(name) must be hexadecimal digits with ? and *, at most 200 characters")
            return nil
        }
        return pattern
    }

    /// Parses a number, or one of `{every: n}`, `{first: n}` and `{from: n}`.
    func numbers() -> NumberMatch? {
        guard isObject else { return count().map { .exactly($0) } }
        guard let members = members() else { return nil }
        let choices: [NumberMatch] = [
            members("every")?.count().map { .every($0) }, members("first")?.count().map { .first($0) },
            members("from")?.count().map { .from($0) },
        ].compactMap { $0 }
        members.finish()
        guard choices.count == 1 else {
            report("\(name) must be a number or one of {every: n}, {first: n} and {from: n}")
            return nil
        }
        return choices[0]
    }
}
