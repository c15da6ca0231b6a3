import APNSWire
import JSONText
import PushModel
import PushStore
import Telemetry

/// Writes the JSON of every answer that is not a problem document.
enum ResponseJSON {
    /// `{"msg_id":…,"status":"accepted","code":0,"timestamp":…}`
    static func accepted(_ id: PushID, at: WallTime, _ delay: DeliveryDelay?) -> [UInt8] {
        var json: [UInt8] = []
        json.reserveCapacity(128)
        JSONWriter.append(#"{"msg_id":""#, to: &json)
        id.value.append(to: &json)
        appendAcceptedTail(at: at, delay, to: &json)
        json.append(UInt8(ascii: "\n"))
        return json
    }

    private static func appendAcceptedTail(at: WallTime, _ delay: DeliveryDelay?, to json: inout [UInt8]) {
        JSONWriter.append(#"","status":"accepted","code":0,"timestamp":"#, to: &json)
        JSONWriter.appendInteger(at.seconds, to: &json)
        append(delay, to: &json)
        json.append(UInt8(ascii: "}"))
    }

    /// Why pushes wait, and for about how many seconds; nothing when they do not.
    static func append(_ delay: DeliveryDelay?, to json: inout [UInt8]) {
        guard let delay else { return }
        JSONWriter.append(#","delayed":"#, to: &json)
        JSONWriter.appendString(delay.reason.label, to: &json)
        guard let estimate = delay.estimate else { return }
        JSONWriter.append(#","estimate":"#, to: &json)
        JSONWriter.appendInteger(max(0, estimate.secondsRoundedUp), to: &json)
    }

    // MARK: Items of a bulk request

    /// Appends the results of `piece`, each followed by `separator`.
    static func append(_ piece: BulkResults.Piece, separator: UInt8, to json: inout [UInt8]) {
        switch piece {
        case .accepted(let first, let count, let batch, let place, let at, let delay):
            // Made once for the run: it differs in the index and in the last digits of the id only.
            var tail: [UInt8] = []
            appendAcceptedTail(at: at, delay, to: &tail)
            tail.append(separator)
            json.reserveCapacity(json.count + count * (tail.count + 64))
            for offset in 0..<count {
                JSONWriter.append(#"{"index":"#, to: &json)
                JSONWriter.appendInteger(first + offset, to: &json)
                JSONWriter.append(#","msg_id":""#, to: &json)
                batch.push(place + offset).value.append(to: &json)
                json.append(contentsOf: tail)
            }
        case .failed(let first, let count, let batch, let place, let error):
            for offset in 0..<count {
                let id = error.isOutcomeUnknown ? batch.push(place + offset) : nil
                appendRefused(
                    index: first + offset, code: error.code, field: nil, detail: error.callerText, unknownID: id,
                    to: &json
                )
                json.append(separator)
            }
        case .verbatim(let item):
            json += item
            json.append(separator)
        case .refused(let index, let refusal):
            appendRefused(
                index: index, code: refusal.code, field: refusal.fieldName, detail: refusal.text, unknownID: nil,
                to: &json
            )
            json.append(separator)
        }
    }

    /// - Parameter unknownID: the push's id when it may have been accepted all the same.
    static func appendRefused(
        index: Int, code: ErrorCode, field: String?, detail: String, unknownID: PushID?, to json: inout [UInt8]
    ) {
        JSONWriter.append(#"{"index":"#, to: &json)
        JSONWriter.appendInteger(index, to: &json)
        if let unknownID {
            JSONWriter.append(#","msg_id":""#, to: &json)
            unknownID.value.append(to: &json)
            JSONWriter.append(#"","status":"unknown","code":"#, to: &json)
        } else {
            JSONWriter.append(#","status":"refused","code":"#, to: &json)
        }
        JSONWriter.appendInteger(code.rawValue, to: &json)
        JSONWriter.append(#","error":"#, to: &json)
        JSONWriter.appendString(code.entry.name, to: &json)
        if let field {
            JSONWriter.append(#","field":"#, to: &json)
            JSONWriter.appendString(field, to: &json)
        }
        JSONWriter.append(#","detail":"#, to: &json)
        JSONWriter.appendString(detail, to: &json)
        json.append(UInt8(ascii: "}"))
    }

    // MARK: Status

    /// - Parameter outlook: why it waits.
    static func append(_ status: PushStatus, _ delay: DeliveryDelay?, to json: inout [UInt8]) {
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
        JSONWriter.append(#","attempts":"#, to: &json)
        JSONWriter.appendInteger(status.attempts, to: &json)
        appendTime("accepted_at", status.acceptedAt, to: &json)
        appendTime("updated_at", status.updatedAt, to: &json)
        appendTime("next_attempt_at", status.nextAttemptAt, to: &json)
        appendTime("token_dead_at", status.tokenDeadAt, to: &json)
        append(delay, to: &json)
        JSONWriter.append("}\n", to: &json)
    }

    static func appendUnknown(_ id: PushID, to json: inout [UInt8]) {
        JSONWriter.append(#"{"msg_id":""#, to: &json)
        id.value.append(to: &json)
        JSONWriter.append("\",\"state\":\"unknown\"}\n", to: &json)
    }

    /// A line of a query that could not be answered; `state` is `invalid` or `unavailable`.
    static func appendUnanswered(state: String, code: ErrorCode, detail: String, to json: inout [UInt8]) {
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

    /// The table of error codes, as `GET /api/v1/codes` gives it.
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
    /// What a caller is told. The store's own words stay in the log: they may name files and hosts.
    var callerText: String {
        switch self {
        case .unavailable(_, isOutcomeKnown: true): "the store does not answer; nothing was accepted"
        case .unavailable(_, isOutcomeKnown: false):
            "the store did not confirm the write; the push may have been accepted, ask for its status before sending it again"
        case .full: "the store has no room; nothing was accepted"
        case .broken: "the store of this instance is damaged; nothing was accepted"
        case .closed: "this instance is stopping; nothing was accepted"
        }
    }
}
