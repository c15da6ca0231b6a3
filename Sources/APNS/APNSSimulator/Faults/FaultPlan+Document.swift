import APNSWire
import HTTP2Session

extension FaultPlan {
    /// Reads `{"rules": [...]}`, in JSON or YAML. `docs/simulator/README.md` lists the members of a rule.
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
            element.members().flatMap { FaultRuleDocument($0).rule() }
        }
    }
}

/// One rule while it is read.
struct FaultRuleDocument {
    private let members: MemberReader

    init(_ members: MemberReader) {
        self.members = members
    }

    private var reader: DocumentReader { members.reader }

    func rule() -> FaultRule? {
        let delay = members("delay")?.duration() ?? .zero
        let isTaken = members("taken")?.boolean() ?? false
        let seed = members("seed")?.integer(0...Int64.max) ?? 1
        let action = FaultActionDocument(members)
        let kind = action.kind()
        var rule = FaultRule(Fault(kind ?? .stall, delay: delay, isTaken: isTaken), seed: UInt64(seed))
        readWho(&rule)
        readWhen(&rule)
        members.finish()
        guard let kind else { return nil }
        if !kind.isPossible(at: rule.moment) {
            reader.report("\(reader.name): the action \(kind.name) is not possible on: \(rule.moment.rawValue)")
        }
        if rule.moment != .push, rule.request != nil {
            reader.report("\(reader.name): \"request\" needs on: push; \"request_on_connection\" does not")
        }
        return rule
    }

    private func readWho(_ rule: inout FaultRule) {
        if let token = members("token"), let text = token.string() {
            if let prefix = DeviceToken(hex: text) {
                rule.tokenPrefix = prefix.bytes
            } else {
                token.report("\(token.name) must be an even number of hexadecimal digits, 200 at most")
            }
        }
        rule.tokenPattern = members("token_pattern")?.tokenPattern()
        rule.topic = members("topic")?.string()
        rule.connection = members("connection")?.numbers()
        rule.requestOnConnection = members("request_on_connection")?.numbers()
        rule.request = members("request")?.numbers()
    }

    private func readWhen(_ rule: inout FaultRule) {
        let moments = FaultMoment.allCases.map { ($0.rawValue, $0) }
        if let moment: FaultMoment = members("on")?.choice(moments) { rule.moment = moment }
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
            report("\(name) must be hexadecimal digits with ? and *, 200 characters at most")
            return nil
        }
        return pattern
    }

    /// A number, or one of `{every: n}`, `{first: n}` and `{from: n}`.
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
