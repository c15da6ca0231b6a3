import ArgumentParser

/// Sends one push, or a file of pushes, and reports their results.
struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Send one push, or a file of pushes.",
        discussion: """
            A file has one JSON object per line, in the format of POST /push/batch; - is standard input.

              godwit send --token 00fc13ad… --alert 'Tea is ready'
              godwit send --file pushes.ndjson --results results.ndjson
              generate-pushes | godwit send --file - --no-wait
              godwit send --file pushes.ndjson --idempotency-key campaign-7

            With --idempotency-key you can repeat the same command within 24 hours, for example after a broken \
            connection: no push is accepted twice. The command then sends the file in chunks of 4 MiB, with the keys \
            campaign-7-1, campaign-7-2 and so on, so the file must not change. `godwit cancel --request campaign-7` \
            cancels the pushes that still wait.

            Exit status: 0 if every push was delivered (with --no-wait: accepted), 1 if one was not or the gateway \
            cannot be reached, 2 if the command line is wrong.
            """
    )

    @OptionGroup(title: "One push") var push: PushFlags

    @Option(name: .shortAndLong, help: "File of pushes, one JSON object per line; - is standard input.")
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

    @Option(help: "Write the gateway's result for each push to this file.")
    var results: String?

    @Flag(name: .customLong("json"), help: "Print the summary as JSON.")
    var isJSON = false

    func validate() throws {
        if file != nil {
            guard push.isEmpty else {
                throw ValidationError("--file cannot be combined with flags that describe a push")
            }
        } else if let problem = push.problem {
            throw ValidationError(problem)
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
        }
    }

    func run() async throws {
        let source = try file.map { try PushSource(path: $0) } ?? PushSource(bytes: push.line)
        let results = try results.map { try ResultFile(path: $0) }
        let (summary, isRepeatable) = try await GatewayAPI.with(connection.connection(), timeout: .seconds(responseTimeout)) {
            api in
            var flow = SendFlow(
                gateway: api, source: source, waitLimit: isNotWaiting ? nil : .seconds(timeout), results: results,
                idempotencyKey: idempotencyKey, isQuiet: file == nil
            )
            try await flow.run()
            report(flow)
            return (flow.summary, flow.isRepeatable)
        }
        if let failure = summary.failure {
            let isRetry = idempotencyKey != nil && isRepeatable
            throw GatewayFailure(
                description: failure + (isRetry ? "; repeat the same command: no push is accepted twice" : ""))
        }
        if !summary.isSuccess { throw ExitCode.failure }
    }

    private func report(_ flow: SendFlow) {
        let summary = flow.summary
        if isJSON {
            Terminal.writeOutput(summary.json)
        } else if file == nil {
            if let id = flow.lastID { Terminal.writeOutput("\(id)") }
            if let note = summary.storedNote { Terminal.writeError(note) }
            if let refusal = flow.lastRefusal {
                let detail = refusal.detail.isEmpty ? "" : ", \(refusal.detail)"
                Terminal.writeOutput("refused: \(refusal.code) \(refusal.reason)\(detail)")
            }
            for (row, _) in summary.rows where row.state != "refused" {
                Terminal.writeOutput(row.code == 0 ? row.state : "\(row.state): \(row.code) \(row.reason)")
            }
        } else if summary.failure == nil || summary.results > 0 {
            Terminal.writeOutput(summary.text)
            if results == nil, let note = summary.refusedNote { Terminal.writeError(note) }
        }
    }
}
