/// Parses the action of a rule and the members that belong to it.
struct FaultActionReader {
    /// The largest `body_bytes` that a document may request.
    private static let bodyBytesMax: Int64 = 1 << 30

    private let members: MemberReader

    init(_ members: MemberReader) {
        self.members = members
    }

    private var reader: DocumentReader { members.reader }

    /// Parses the action. Returns nil and reports a problem if it is missing or invalid.
    func kind() -> Fault.Kind? {
        guard let action = members("action") else {
            reader.report("\(reader.name) has no \"action\"")
            return nil
        }
        guard let name = action.choice(Self.names.map { ($0, $0) }) else { return nil }
        let kind = kind(name)
        reportUnsupported(except: Self.supported[name] ?? [], for: name)
        return kind
    }

    private func kind(_ name: String) -> Fault.Kind? {
        switch name {
        case "accept": .accept
        case "stall": .stall
        case "close": .close
        case "tcp-reset": .tcpReset
        case "ignore-pings": .ignorePings
        case "answer": responseKind()
        case "wedge": .wedge(response(statusDefault: 500, reasonDefault: "InternalServerError"))
        case "reset": resetKind()
        case "goaway": goAwayKind()
        case "settings": settingsKind()
        default:
            .blackHole(
                members("mode")?.choice(Fault.BlackHole.allCases.map { ($0.rawValue, $0) }) ?? .answersNothing)
        }
    }

    private static let responseNames = [
        "status", "reason", "retry_after", "timestamp", "body", "body_bytes", "content_type",
    ]
    private static let frameNames = ["code", "debug"]

    /// The members that each action supports.
    private static let supported: [String: [String]] = [
        "accept": [], "stall": [], "close": [], "tcp-reset": [], "ignore-pings": [],
        "answer": responseNames + frameNames + ["then_goaway"], "wedge": responseNames,
        "reset": ["code", "after_headers"],
        "goaway": frameNames + ["last_stream", "twice", "two_steps", "answer_after"],
        "settings": ["streams", "window", "header_table"], "black-hole": ["mode"],
    ]
    private static let names = [
        "accept", "answer", "stall", "reset", "close", "tcp-reset", "goaway", "settings", "black-hole",
        "ignore-pings", "wedge",
    ]

    private func reportUnsupported(except supported: [String], for action: String) {
        for name in Set(Self.supported.values.joined()).sorted() where !supported.contains(name) && members.has(name) {
            members(name)?.report("\(reader.name): the action \(action) does not support \"\(name)\"")
        }
    }

    // MARK: Responses

    private func response(statusDefault: UInt16?, reasonDefault: String) -> FaultResponse {
        let status = members("status")?.integer(200...599).map { UInt16($0) }
        if status == nil, statusDefault == nil, !members.has("status") {
            reader.report("\(reader.name) has no \"status\"")
        }
        return FaultResponse(
            status: status ?? statusDefault ?? 500, reason: members("reason")?.string() ?? reasonDefault,
            retryAfter: members("retry_after")?.integer(0...86_400).map { UInt32($0) },
            timestamp: members("timestamp")?.integer(0...Int64.max),
            body: members("body")?.string().map { Array($0.utf8) },
            bodyBytes: members("body_bytes")?.integer(0...Self.bodyBytesMax).map { Int($0) },
            contentType: members("content_type")?.string()
        )
    }

    private func responseKind() -> Fault.Kind {
        let response = response(statusDefault: nil, reasonDefault: "")
        let (code, debugData) = frame()
        guard members("then_goaway")?.boolean() == true else {
            for name in Self.frameNames where members.has(name) {
                reader.report("\(reader.name): \"\(name)\" needs then_goaway: true")
            }
            return .answer(response)
        }
        return .answerAndGoAway(response, code: code, debugData: debugData)
    }

    // MARK: Frames

    private func frame() -> (code: FaultErrorCode, debugData: [UInt8]) {
        let code = members("code")?.errorCode().map { FaultErrorCode(rawValue: $0) } ?? .noError
        return (code, Array((members("debug")?.string() ?? "").utf8))
    }

    private func resetKind() -> Fault.Kind {
        let code = members("code")?.errorCode().map { FaultErrorCode(rawValue: $0) } ?? .internalError
        return members("after_headers")?.boolean() == true ? .resetAfterHeaders(code) : .reset(code)
    }

    private func goAwayKind() -> Fault.Kind {
        let (code, debugData) = frame()
        let last = members("last_stream")?.integer(0...Int64(Int32.max)).map { Int32($0) }
        if let last, last != 0, last.isMultiple(of: 2) {
            reader.report("\(reader.name).last_stream must be 0 or the odd ID of a client stream")
        }
        let isTwice = members("twice")?.boolean() ?? false
        let twoSteps = members("two_steps")?.duration()
        let responseAfter = members("answer_after")?.duration()
        let forms = [last != nil || isTwice, twoSteps != nil, responseAfter != nil].filter { $0 }.count
        if forms > 1 {
            reader.report("\(reader.name): last_stream or twice, two_steps, and answer_after exclude each other")
        }
        if let twoSteps { return .goAwayInTwoSteps(interval: twoSteps, code: code, debugData: debugData) }
        if let responseAfter {
            return .goAwayBeforeAnswer(answerDelay: responseAfter, code: code, debugData: debugData)
        }
        return isTwice
            ? .goAwayTwice(lastStream: last, code: code, debugData: debugData)
            : .goAway(lastStream: last, code: code, debugData: debugData)
    }

    private func settingsKind() -> Fault.Kind {
        let settings = FaultSettings(
            streamsMax: members("streams")?.integer(0...1_000_000).map { UInt32($0) },
            initialWindowBytes: members("window")?.integer(0...Int64(Int32.max)).map { UInt32($0) },
            headerTableBytes: members("header_table")?.integer(0...1 << 20).map { UInt32($0) }
        )
        if settings == FaultSettings() {
            reader.report("\(reader.name) needs \"streams\", \"window\" or \"header_table\"")
        }
        return .settings(settings)
    }
}
