package import APNSWire
import JSONText
import PushModel

/// The results of one `godwit send`, counted by state, code and reason.
package struct SendSummary {
    package struct Row: Hashable {
        package var state: String
        package var code: Int
        package var reason: String
    }

    /// The pushes that were to be sent.
    package enum Input: Equatable, Sendable {
        /// Each has a result.
        case complete
        /// Not all have a result.
        case partial(of: Int)
        /// It was not read to its end, so that its length is not known.
        case unread
    }

    /// The first push that violates a rule of the lint.
    package struct Warned: Equatable, Sendable {
        package var warning: PushWarning
        package var line: PushLine
    }

    /// Rules come from responses, so their number is bounded.
    package static let warningsMax = 100

    /// Rows come from responses, so their number is bounded; further reasons are counted as "other".
    package static let rowsMax = 200

    package private(set) var counts: [Row: Int] = [:]
    /// Pushes for which the gateway returned a result.
    package private(set) var results = 0
    package private(set) var accepted = 0
    package private(set) var refused = 0
    /// Accepted pushes that are delayed, by the reason that the gateway reports.
    package private(set) var delayed: [String: Int] = [:]
    /// One for each rule, in the order of the responses.
    package private(set) var warnings: [Warned] = []
    package var input = Input.complete
    /// Requests with an `Idempotency-Key`, and those of them whose response was a stored one.
    private var chunks = (all: 0, stored: 0)
    /// From the start to the result for the last push.
    package var acceptTime: Duration = .zero
    /// From the start to the last verdict; nil if the command did not wait for verdicts.
    package var settleTime: Duration?
    /// Why sending or waiting ended early.
    package var failure: String?

    /// Accepted pushes without a known verdict at the end.
    package var waiting: Int { counts.filter { $0.key.state == "waiting" }.values.reduce(0, +) }

    /// Counts a line of the response to a batch.
    ///
    /// - Parameters:
    ///   - push: the line of the input.
    ///   - isPolled: the final state of the push is counted later.
    package mutating func countResponse(_ line: ResponseLine, of push: PushLine, isPolled: Bool) {
        results += 1
        for warning in line.warnings
        where warnings.count < Self.warningsMax && !warnings.contains(where: { $0.warning.rule == warning.rule }) {
            warnings.append(Warned(warning: warning, line: push))
        }
        switch line.state {
        case "accepted":
            accepted += 1
            if !line.delayed.isEmpty, delayed[line.delayed] != nil || delayed.count < Self.rowsMax {
                delayed[line.delayed, default: 0] += 1
            }
        case "refused": refused += 1
        default: break
        }
        if !isPolled { count(line) }
    }

    /// Counts a request with an `Idempotency-Key`.
    ///
    /// - Parameter isStored: the response is that of an earlier request with the same key.
    package mutating func countChunk(isStored: Bool) {
        chunks.all += 1
        if isStored { chunks.stored += 1 }
    }

    /// Counts the final state of an accepted push.
    package mutating func count(_ line: ResponseLine) {
        add(1, Row(state: line.state, code: line.code, reason: line.reason))
    }

    /// Counts pushes of which only the state is known.
    package mutating func count(_ pushes: Int, state: String) {
        if pushes > 0 { add(pushes, Row(state: state, code: 0, reason: "")) }
    }

    package init() {}

    /// The failure for a number of pushes that had no verdict in time.
    package static func noVerdict(_ pushes: Int) -> String {
        pushes == 1 ? "1 push has no verdict yet" : "\(pushes.grouped) pushes have no verdict yet"
    }

    /// How to query pushes without a verdict later.
    ///
    /// - Parameters:
    ///   - ids: of some of them.
    ///   - url: of the gateway, if the command line has it.
    package static func queryAdvice(_ ids: [APNSID], url: String?) -> String {
        let words = ["godwit status"] + ids.map { "\($0)" } + (url.map { ["--url \($0)"] } ?? [])
        return "query \(ids.count == 1 ? "it" : "them") later with: " + words.joined(separator: " ")
    }

    /// Whether no push was refused or rejected, and the state of each is known.
    package var isSuccess: Bool {
        failure == nil && refused == 0
            && counts.keys.allSatisfy { ["delivered", "accepted", "scheduled"].contains($0.state) }
    }

    private mutating func add(_ pushes: Int, _ row: Row) {
        var row = row
        if counts[row] == nil, counts.count >= Self.rowsMax { row.reason = "other" }
        counts[row, default: 0] += pushes
    }

    // MARK: Output

    /// Most frequent first.
    package var rows: [(row: Row, count: Int)] {
        counts.map { ($0.key, $0.value) }
            .sorted { ($1.1, $0.0.state, $0.0.code, $0.0.reason) < ($0.1, $1.0.state, $1.0.code, $1.0.reason) }
    }

    package var text: String {
        var lines = [headline]
        if !counts.isEmpty {
            lines.append("")
            lines += TextTable.lines(
                header: ["state", "code", "reason", "pushes"],
                rows: rows.map { [$0.row.state, "\($0.row.code)", $0.row.reason, $0.count.grouped] },
                rightAligned: [1, 3]
            )
        }
        return lines.joined(separator: "\n")
    }

    /// One line for each reason for which accepted pushes are delayed.
    package var delayedLines: [String] {
        delayed.sorted { $0.key < $1.key }.map { reason, count in
            let text =
                switch reason {
                case "paused": "the app is paused; resume it with godwit resume"
                case "credential_refused": "APNs refuses the app's key or certificate"
                case "apns_unreachable": "APNs cannot be reached"
                case "rate_limited": "the app has reached its rate"
                case "backlog": "other pushes are ahead in the queue"
                default: reason
                }
            return "\(count == 1 ? "1 push is" : "\(count.grouped) pushes are") accepted and delayed: \(text)"
        }
    }

    /// One line for each rule that a push violates.
    ///
    /// - Parameter isFile: whether the pushes are lines that the user knows.
    package func warningLines(isFile: Bool) -> [String] {
        warnings.map { warned in
            let place = isFile ? "line \(warned.line.number): " : ""
            return "\(place)warning (\(warned.warning.rule)): \(warned.warning.detail)"
        }
    }

    /// The note that pushes were accepted by an earlier command; nil if all are new.
    package var storedNote: String? {
        guard chunks.stored > 0 else { return nil }
        guard chunks.stored < chunks.all else { return "stored response: nothing was accepted again" }
        return "stored response for \(chunks.stored) of \(chunks.all) chunks: nothing of these was accepted again"
    }

    /// The note that not all of several pushes are listed; nil if they are.
    ///
    /// - Parameter hasFile: whether a results file has them all.
    package static func moreNote(_ kind: String, listed: Int, of all: Int, hasFile: Bool) -> String? {
        guard all > listed else { return nil }
        return
            "and \((all - listed).grouped) more \(kind); \(hasFile ? "the results file has" : "--results FILE keeps") all"
    }

    private var headline: String {
        let count =
            switch input {
            case .complete: "\(accepted.grouped) of \(results.grouped) pushes"
            case .partial(let all): "\(accepted.grouped) of \(all.grouped) pushes"
            case .unread: accepted == 1 ? "1 push" : "\(accepted.grouped) pushes"
            }
        var text = "\(count) accepted in \(acceptTime.short)"
        if accepted > 1 { text += ", \(accepted.perSecond(in: acceptTime).grouped)/s" }
        switch input {
        case .complete: break
        case .partial(let all): text += "; \((all - results).grouped) have no result"
        case .unread: text += "; the rest of the input has no result"
        }
        if let settleTime { text += "; verdicts after \(settleTime.short)" }
        if !warnings.isEmpty {
            text += "; \(warnings.count == 1 ? "1 kind" : "\(warnings.count.grouped) kinds") of warnings"
        }
        if let storedNote { text += " (\(storedNote))" }
        return text
    }

    /// - Parameters:
    ///   - nextLine: the line from which on the file has no results; nil if all lines have one.
    ///   - results: one JSON object for each push; empty for a file.
    package func json(nextLine: Int? = nil, results: [[UInt8]] = []) -> String {
        var output: [UInt8] = []
        JSONWriter.append("{\"accepted\":", to: &output)
        JSONWriter.appendInteger(accepted, to: &output)
        JSONWriter.append(",\"refused\":", to: &output)
        JSONWriter.appendInteger(refused, to: &output)
        output += ",\"accept_ms\":\(acceptTime.milliseconds)".utf8
        if let settleTime { output += ",\"settle_ms\":\(settleTime.milliseconds)".utf8 }
        JSONWriter.append(",\"outcomes\":[", to: &output)
        for (index, entry) in rows.enumerated() {
            if index > 0 { output.append(UInt8(ascii: ",")) }
            JSONWriter.append("{\"state\":", to: &output)
            JSONWriter.appendString(entry.row.state, to: &output)
            output += ",\"code\":\(entry.row.code),\"reason\":".utf8
            JSONWriter.appendString(entry.row.reason, to: &output)
            output += ",\"pushes\":\(entry.count)}".utf8
        }
        JSONWriter.append("]", to: &output)
        if !delayed.isEmpty {
            JSONWriter.append(",\"delayed\":{", to: &output)
            for (index, entry) in delayed.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { JSONWriter.append(",", to: &output) }
                JSONWriter.appendString(entry.key, to: &output)
                output += ":\(entry.value)".utf8
            }
            JSONWriter.append("}", to: &output)
        }
        if !warnings.isEmpty {
            JSONWriter.append(",\"warnings\":[", to: &output)
            for (index, warned) in warnings.enumerated() {
                JSONWriter.append(index > 0 ? ",{\"rule\":" : "{\"rule\":", to: &output)
                JSONWriter.appendString(warned.warning.rule, to: &output)
                JSONWriter.append(",\"detail\":", to: &output)
                JSONWriter.appendString(warned.warning.detail, to: &output)
                output += ",\"line\":\(warned.line.number)}".utf8
            }
            JSONWriter.append("]", to: &output)
        }
        if let failure {
            JSONWriter.append(",\"failure\":", to: &output)
            JSONWriter.appendString(failure, to: &output)
        }
        if !results.isEmpty { output += Array(",\"results\":[".utf8) + results.joined(separator: [0x2C]) + [0x5D] }
        if let nextLine { output += ",\"next_line\":\(nextLine)".utf8 }
        JSONWriter.append("}", to: &output)
        return String(decoding: output, as: UTF8.self)
    }
}
