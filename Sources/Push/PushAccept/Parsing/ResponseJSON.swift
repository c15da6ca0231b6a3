import APNSWire
import JSONText
import PushModel
import PushStore
import Telemetry

/// Writes the JSON of all responses that are not problem documents.
enum ResponseJSON {
    /// `{"msg_id":…,"status":"accepted","code":0,"timestamp":…}`
    static func accepted(
        _ id: PushID, at: WallTime, _ delay: DeliveryDelay?, warnings: [UInt8] = []
    ) -> [UInt8] {
        var json: [UInt8] = []
        json.reserveCapacity(128)
        JSONWriter.append(#"{"msg_id":""#, to: &json)
        id.value.append(to: &json)
        appendAcceptedTail(at: at, delay, warnings, to: &json)
        json.append(UInt8(ascii: "\n"))
        return json
    }

    private static func appendAcceptedTail(
        at: WallTime, _ delay: DeliveryDelay?, _ warnings: [UInt8], to json: inout [UInt8]
    ) {
        JSONWriter.append(#"","status":"accepted","code":0,"timestamp":"#, to: &json)
        JSONWriter.appendInteger(at.seconds, to: &json)
        append(delay, to: &json)
        json += warnings
        json.append(UInt8(ascii: "}"))
    }

    /// The member `warnings` and the comma before it; empty if there are none.
    static func warnings(_ warnings: [LintFinding]) -> [UInt8] {
        guard !warnings.isEmpty else { return [] }
        var json: [UInt8] = []
        JSONWriter.append(#","warnings":["#, to: &json)
        for (index, warning) in warnings.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            JSONWriter.append(#"{"rule":"#, to: &json)
            JSONWriter.appendString(warning.code.rawValue, to: &json)
            JSONWriter.append(#","detail":"#, to: &json)
            JSONWriter.appendString("\(warning.message); \(warning.advice)", to: &json)
            json.append(UInt8(ascii: "}"))
        }
        json.append(UInt8(ascii: "]"))
        return json
    }

    /// Appends `delayed` and `estimate`; nothing if the pushes do not wait.
    static func append(_ delay: DeliveryDelay?, to json: inout [UInt8]) {
        guard let delay else { return }
        JSONWriter.append(#","delayed":"#, to: &json)
        JSONWriter.appendString(delay.reason.label, to: &json)
        guard let estimate = delay.estimate else { return }
        JSONWriter.append(#","estimate":"#, to: &json)
        JSONWriter.appendInteger(max(0, estimate.secondsRoundedUp), to: &json)
    }

    /// Appends `delayed`, `estimate` and `detail`. The responses to pushes have no `detail`: it would be repeated for
    /// each push.
    static func appendDetailed(_ delay: DeliveryDelay?, to json: inout [UInt8]) {
        append(delay, to: &json)
        guard let detail = delay?.detail else { return }
        JSONWriter.append(#","detail":"#, to: &json)
        JSONWriter.appendString(detail, to: &json)
    }

    // MARK: Items of a bulk request

    /// Appends the results of `run`, each followed by `separator`.
    static func append(_ run: BulkResults.Run, separator: UInt8, to json: inout [UInt8]) {
        switch run {
        case .accepted(let firstItem, let count, let batch, let firstPush, let at, let delay, let notes):
            // Built once for the run: its results differ only in `index` or `token`, and `msg_id`.
            var tail: [UInt8] = []
            appendAcceptedTail(at: at, delay, notes.warnings, to: &tail)
            tail.append(separator)
            // No reserveCapacity: an exact reservation for each run would copy the whole response for each run.
            for offset in 0..<count {
                appendIndex(firstItem, notes.firstToken, offset, to: &json)
                JSONWriter.append(#","msg_id":""#, to: &json)
                batch.push(firstPush + offset).value.append(to: &json)
                json.append(contentsOf: tail)
            }
        case .failed(let firstItem, let count, let batch, let firstPush, let error, let notes):
            for offset in 0..<count {
                let id = error.isOutcomeUnknown ? batch.push(firstPush + offset) : nil
                appendIndex(firstItem, notes.firstToken, offset, to: &json)
                appendRefusedTail(Refusal(error.code, .text(error.callerText)), unknownID: id, to: &json)
                json.append(separator)
            }
        case .verbatim(let item):
            json += item
            json.append(separator)
        case .refused(let index, let refusal, let token):
            appendRefused(index: index, token: token, refusal, to: &json)
            json.append(separator)
        }
    }

    /// Appends `{"index":…`, and `token` if the item has several.
    private static func appendIndex(_ firstItem: Int, _ firstToken: Int?, _ offset: Int, to json: inout [UInt8]) {
        JSONWriter.append(#"{"index":"#, to: &json)
        JSONWriter.appendInteger(firstToken == nil ? firstItem + offset : firstItem, to: &json)
        guard let firstToken else { return }
        JSONWriter.append(#","token":"#, to: &json)
        JSONWriter.appendInteger(firstToken + offset, to: &json)
    }

    /// - Parameter token: the index in `device_tokens`, if the item has several.
    static func appendRefused(index: Int, token: Int? = nil, _ refusal: Refusal, to json: inout [UInt8]) {
        appendIndex(index, token, 0, to: &json)
        appendRefusedTail(refusal, unknownID: nil, to: &json)
    }

    /// - Parameter unknownID: the id of a push that may have been accepted nevertheless.
    private static func appendRefusedTail(_ refusal: Refusal, unknownID: PushID?, to json: inout [UInt8]) {
        if let unknownID {
            JSONWriter.append(#","msg_id":""#, to: &json)
            unknownID.value.append(to: &json)
            JSONWriter.append(#"","status":"unknown","code":"#, to: &json)
        } else {
            JSONWriter.append(#","status":"refused","code":"#, to: &json)
        }
        JSONWriter.appendInteger(refusal.code.rawValue, to: &json)
        JSONWriter.append(#","error":"#, to: &json)
        JSONWriter.appendString(refusal.code.entry.name, to: &json)
        if let field = refusal.fieldName {
            JSONWriter.append(#","field":"#, to: &json)
            JSONWriter.appendString(field, to: &json)
        }
        if let rule = refusal.rule {
            JSONWriter.append(#","rule":"#, to: &json)
            JSONWriter.appendString(rule.rawValue, to: &json)
        }
        JSONWriter.append(#","detail":"#, to: &json)
        JSONWriter.appendString(refusal.text, to: &json)
        json.append(UInt8(ascii: "}"))
    }

    /// Appends the result of a validated push.
    static func append(_ report: PushValidator.Report, to json: inout [UInt8]) {
        switch report.verdict {
        case .refused(let refusal): appendRefused(index: report.index, token: report.token, refusal, to: &json)
        case .warned(let findings):
            appendIndex(report.index, report.token, 0, to: &json)
            JSONWriter.append(#","status":"warned","code":0"#, to: &json)
            json += warnings(findings)
            json.append(UInt8(ascii: "}"))
        }
    }

    // MARK: Status

    /// - Parameters:
    ///   - delay: why the push waits, if it does.
    ///   - tokenMatch: how a search by token found the push.
    static func append(
        _ status: PushStatus, _ delay: DeliveryDelay?, tokenMatch: FoundMessage.TokenMatch? = nil,
        to json: inout [UInt8]
    ) {
        JSONWriter.append(#"{"msg_id":""#, to: &json)
        status.id.value.append(to: &json)
        JSONWriter.append(#"","app":"#, to: &json)
        JSONWriter.appendString(status.app.name, to: &json)
        JSONWriter.append(#","lane":"#, to: &json)
        JSONWriter.appendString(status.lane.label, to: &json)
        JSONWriter.append(#","state":"#, to: &json)
        JSONWriter.appendString(status.state.label, to: &json)
        JSONWriter.append(#","code":"#, to: &json)
        JSONWriter.appendInteger(status.code.rawValue, to: &json)
        if status.code != .none {
            JSONWriter.append(#","error":"#, to: &json)
            JSONWriter.appendString(status.code.entry.name, to: &json)
        }
        if !status.reason.text.isEmpty {
            JSONWriter.append(#","reason":"#, to: &json)
            JSONWriter.appendString(status.reason.text, to: &json)
        }
        if status.status != 0 {
            JSONWriter.append(#","apns_status":"#, to: &json)
            JSONWriter.appendInteger(status.status, to: &json)
        }
        if let uniqueID = status.uniqueID {
            JSONWriter.append(#","apns_unique_id":"#, to: &json)
            JSONWriter.appendString(uniqueID, to: &json)
        }
        JSONWriter.append(#","attempts":"#, to: &json)
        JSONWriter.appendInteger(status.attempts, to: &json)
        appendTime("accepted_at", status.acceptedAt, to: &json)
        appendTime("updated_at", status.updatedAt, to: &json)
        // A push that is due already waits for something else, which `delay` names.
        if let next = status.nextAttemptAt, next > status.updatedAt { appendTime("next_attempt_at", next, to: &json) }
        appendTime("token_dead_at", status.tokenDeadAt, to: &json)
        appendDetailed(delay, to: &json)
        if let tokenMatch {
            JSONWriter.append(#","token_match":"#, to: &json)
            JSONWriter.appendString(tokenMatch.rawValue, to: &json)
        }
        JSONWriter.append("}\n", to: &json)
    }

    static func appendUnknown(_ id: PushID, to json: inout [UInt8]) {
        JSONWriter.append(#"{"msg_id":""#, to: &json)
        id.value.append(to: &json)
        JSONWriter.append("\",\"state\":\"unknown\"}\n", to: &json)
    }

    /// Appends the result of a query line without a status.
    ///
    /// - Parameter state: `invalid` or `unavailable`.
    static func appendQueryFailure(state: String, code: ErrorCode, detail: String, to json: inout [UInt8]) {
        JSONWriter.append(#"{"state":"#, to: &json)
        JSONWriter.appendString(state, to: &json)
        JSONWriter.append(#","code":"#, to: &json)
        JSONWriter.appendInteger(code.rawValue, to: &json)
        JSONWriter.append(#","error":"#, to: &json)
        JSONWriter.appendString(code.entry.name, to: &json)
        JSONWriter.append(#","detail":"#, to: &json)
        JSONWriter.appendString(detail, to: &json)
        JSONWriter.append("}\n", to: &json)
    }

    static func appendTime(_ name: String, _ time: WallTime?, to json: inout [UInt8]) {
        guard let time else { return }
        json.append(UInt8(ascii: ","))
        JSONWriter.appendString(name, to: &json)
        json.append(UInt8(ascii: ":"))
        JSONWriter.appendString(RFC3339.text(milliseconds: time.milliseconds), to: &json)
    }

    // MARK: Codes

    /// The response of `GET /api/v1/codes`.
    static func codes() -> [UInt8] {
        var json: [UInt8] = []
        JSONWriter.append(#"{"codes":["#, to: &json)
        for (index, code) in ErrorCode.allCases.enumerated() {
            if index > 0 { JSONWriter.append(",", to: &json) }
            let entry = code.entry
            JSONWriter.append("\n{\"code\":", to: &json)
            JSONWriter.appendInteger(code.rawValue, to: &json)
            for (name, value) in [("name", entry.name), ("meaning", entry.meaning), ("advice", entry.advice)] {
                json.append(UInt8(ascii: ","))
                JSONWriter.appendString(name, to: &json)
                json.append(UInt8(ascii: ":"))
                JSONWriter.appendString(value, to: &json)
            }
            JSONWriter.append(#","retried":"#, to: &json)
            if entry.isRetried { JSONWriter.append("true}", to: &json) } else { JSONWriter.append("false}", to: &json) }
        }
        JSONWriter.append("]}\n", to: &json)
        return json
    }
}

extension QueueError {
    /// The detail in a response. The store's own text is only logged, because it can contain names of files and hosts.
    var callerText: String {
        switch self {
        case .unavailable(_, isOutcomeKnown: true):
            "the store does not respond; nothing was accepted, send it again later"
        case .idempotencyKeyUsed: "another request of the same write was refused; nothing was accepted, send it again"
        case .unavailable(_, isOutcomeKnown: false):
            "the store did not confirm the write; the push may have been accepted, query its status before sending it again"
        case .full: "the store is full; nothing was accepted, send it again later"
        case .broken: "the store of this instance is damaged; nothing was accepted, send it to another instance"
        case .closed: "this instance is stopping; nothing was accepted, send it to another instance"
        }
    }
}
