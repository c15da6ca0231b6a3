import ArgumentParser
import Foundation
import PushGateway

/// Sends one push, or a file of pushes, and reports their results.
struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Send one push, or a file of pushes.",
        discussion: """
            A file has one JSON object per line, in the format of POST /push/batch; - is standard input.

              godwit send --token 00fc13ad… --title Kitchen --alert 'Tea is ready'
              godwit send --token 00fc13ad… --payload @push.json --expiration 1h
              godwit send --file pushes.ndjson --results results.ndjson
              generate-pushes | godwit send --file - --no-wait
              godwit send --file pushes.ndjson --idempotency-key campaign-7

            With --idempotency-key you can repeat the same command within 24 hours, for example after a broken \
            connection: no push is accepted twice. The command then sends the file in chunks of 4 MiB, with the keys \
            campaign-7-1, campaign-7-2 and so on, so the file must not change. `godwit cancel --request campaign-7` \
            cancels the pushes that still wait.

            The results file has one JSON object for each push: index (from 0), line (from 1), the first digits of the \
            device token, msg_id and verdict. If the command ends early, accepted pushes without a verdict are in it as \
            waiting, and pushes for which the gateway returned no result are missing.

            Exit status: 0 if every push was delivered (with --no-wait: accepted), 1 if one was not or the gateway \
            cannot be reached, 2 if the command line is wrong.
            """
    )

    @OptionGroup(title: "One push") var push: PushFlags

    @Option(
        name: .shortAndLong, help: "File of pushes, one JSON object per line; - is standard input.",
        transform: UserPath.expanded)
    var file: String?

    @OptionGroup var connection: ConnectionOptions

    @Flag(name: .customLong("no-wait"), help: "Do not wait for verdicts: exit once the pushes are accepted.")
    var isNotWaiting = false

    @Option(help: "Seconds to wait for verdicts.")
    var timeout = 300

    @Option(help: "Seconds that the gateway may take to respond.")
    var responseTimeout = GatewayOptions.defaultTimeoutSeconds

    @Option(help: "Name for these pushes: a repeated command does not accept them again.")
    var idempotencyKey: String?

    @Option(help: "Write the result of each push to this file.", transform: UserPath.expanded)
    var results: String?

    @Flag(name: .customLong("json"), help: "Print the summary as JSON.")
    var isJSON = false

    func validate() throws {
        if file != nil {
            guard push.isEmpty else {
                throw ValidationError("--file cannot be combined with flags that describe a push")
            }
        } else {
            try push.check()
        }
        guard timeout >= 0 else { throw ValidationError("--timeout must be at least 0 seconds") }
        guard (1...86_400).contains(responseTimeout) else {
            throw ValidationError("--response-timeout must be 1 to 86400 seconds")
        }
        if let idempotencyKey {
            let isValid = idempotencyKey.utf8.allSatisfy { (0x21...0x7E).contains($0) && !#"",;\"#.utf8.contains($0) }
            guard isValid, (1...200).contains(idempotencyKey.utf8.count) else {
                throw ValidationError(
                    "--idempotency-key must be 1 to 200 printable ASCII characters without spaces, commas, semicolons, quotes and backslashes"
                )
            }
            guard !push.hasRelativeTime else {
                throw ValidationError(
                    "with --idempotency-key a time must be absolute: 1h means another push each time the command is repeated"
                )
            }
        }
    }

    func run() async throws {
        let source = try file.map { try PushSource(path: $0) } ?? PushSource(bytes: try push.lines())
        let connection = try connection.connection()
        // From here on a signal stops the work, and the command still reports what was accepted.
        Termination.listen()
        let (failure, isSuccess) = try await withThrowingTaskGroup(of: Report?.self) { group in
            group.addTask { try await send(source, to: connection) }
            group.addTask {
                await Termination.wait()
                return nil
            }
            defer { group.cancelAll() }
            for try await report in group {
                if let report { return report }
                // A signal has arrived.
                source.stop()
                group.cancelAll()
                // timeout(1) sends two signals at the same time; the second must not cut off the report.
                Termination.endImmediately(after: 1)
            }
            preconditionFailure("a cancelled send also ends with a report")
        }
        if let failure { throw CommandError(failure) }
        if !isSuccess { throw ExitCode.failure }
    }

    /// Why sending or waiting ended early, and whether all is well.
    private typealias Report = (failure: String?, isSuccess: Bool)

    /// Sends the pushes, and prints what became of them.
    private func send(_ source: PushSource, to connection: GatewayConnection) async throws -> Report {
        let results = try results.map { try ResultFile(path: $0) }
        return try await GatewayAPI.with(connection, timeout: .seconds(responseTimeout)) { api in
            let flow = SendFlow(
                gateway: api, source: source, isFile: file != nil, waitLimit: isNotWaiting ? nil : .seconds(timeout),
                results: results, idempotencyKey: idempotencyKey
            )
            try await flow.run()
            return (report(flow), flow.summary.isSuccess)
        }
    }

    /// - Returns: why sending or waiting ended early, and how to go on.
    private func report(_ flow: SendFlow) -> String? {
        let summary = flow.summary
        let canRepeat = idempotencyKey != nil && flow.isRepeatable
        let continuation = file.map { file in
            SendContinuation(
                file: file, lastLine: flow.lastLine, accepted: summary.accepted, refused: summary.refused,
                isStarted: flow.source.bytesRead > 0, isComplete: flow.isComplete, isRestUnread: flow.isRestUnread,
                isRepeatable: canRepeat
            )
        }
        if isJSON {
            Terminal.writeOutput(
                summary.json(
                    nextLine: summary.failure == nil ? nil : continuation?.nextLine,
                    results: file == nil ? flow.details.map(\.json) : []))
        } else if file == nil {
            if let note = summary.storedNote { Terminal.writeError(note) }
            for line in push.tokens.count == 1 ? Self.lines(flow.details) : Self.table(flow.details) {
                Terminal.writeOutput(line)
            }
        } else if summary.failure == nil || summary.results > 0 {
            Terminal.writeOutput(summary.text)
        }
        for line in summary.warningLines(isFile: file != nil) { Terminal.writeError(line) }
        if file != nil { list(flow) }
        if let file, flow.source.count == 0 { return "\(file == "-" ? "standard input" : file) has no push" }
        return summary.failure.map { failure in
            guard let continuation else { return failure + advice(flow, canRepeat: canRepeat) }
            let isTimedOut = failure == SendSummary.noVerdict(summary.waiting)
            let advice = isTimedOut ? "; " + SendSummary.queryAdvice([], url: connection.givenURL) : ""
            return "\(failure)\(advice); \(continuation.text)"
        }
    }

    /// What to do about pushes from flags after an early end; starts with a semicolon unless it is empty.
    private func advice(_ flow: SendFlow, canRepeat: Bool) -> String {
        let waiting = flow.unsettled.map(\.id)
        if !waiting.isEmpty {
            let count = SendSummary.noVerdict(flow.summary.waiting)
            return (flow.summary.failure == count ? "" : "; \(count)")
                + "; \(SendSummary.queryAdvice(waiting, url: connection.givenURL))"
        }
        if canRepeat { return "; repeat the same command: no push is accepted twice" }
        guard flow.isInterrupted, !flow.isComplete else { return "" }
        return flow.source.bytesRead == 0
            ? "; nothing was sent" : "; the gateway has not responded yet, so the push may have been accepted"
    }

    /// Lists the first refused pushes of a file, and those without a verdict, on standard error.
    private func list(_ flow: SendFlow) {
        let hasFile = results != nil
        for result in flow.details {
            Terminal.writeError("line \(result.line.number)\(Self.token(result.line)): \(result.response.text)")
        }
        let refused = flow.summary.refused
        if let note = SendSummary.moreNote("refused", listed: flow.details.count, of: refused, hasFile: hasFile) {
            Terminal.writeError(note)
        }
        let waiting = flow.summary.waiting
        if let results, waiting > 0 { Terminal.writeError("\(results) has the IDs of the waiting pushes") }
        guard !hasFile else { return }
        for push in flow.unsettled {
            Terminal.writeError("line \(push.line.number)\(Self.token(push.line)): waiting, \(push.id)")
        }
        if let note = SendSummary.moreNote("waiting", listed: flow.unsettled.count, of: waiting, hasFile: false) {
            Terminal.writeError(note)
        }
    }

    private static func token(_ line: PushLine) -> String {
        line.tokenPrefix.isEmpty ? "" : ", token \(line.tokenPrefix)…"
    }

    /// Of one push: its ID, and what became of it.
    private static func lines(_ results: [SendFlow.Result]) -> [String] {
        results.flatMap { result in (result.id.map { ["\($0)"] } ?? []) + [result.response.text] }
    }

    private static func table(_ results: [SendFlow.Result]) -> [String] {
        guard !results.isEmpty else { return [] }
        let sorted = results.sorted { $0.line.number < $1.line.number }
        return TextTable.lines(
            header: ["token", "msg_id", "state"],
            rows: sorted.map { result in
                [result.line.tokenPrefix, result.id.map { "\($0)" } ?? "-", result.response.text]
            })
    }
}
