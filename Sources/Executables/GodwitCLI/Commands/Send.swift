import ArgumentParser

/// Sends one push, or a file of pushes, and tells what became of them.
struct Send: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Send one push from flags, or a file of pushes.",
        discussion: """
            A file holds one JSON object a line, as POST /push/batch takes them; - is standard input.

              godwit send --token 00fc13ad… --alert 'Tea is ready'
              godwit send --file pushes.ndjson --results results.ndjson
              generate-pushes | godwit send --file - --no-wait
              godwit send --file pushes.ndjson --idempotency-key campaign-7

            With --idempotency-key the same command may be given again within 24 hours, after a broken connection for \
            example: what was accepted is not accepted twice. The pushes then go in chunks of 4 MiB with the keys \
            campaign-7-1, campaign-7-2 and so on, so the file must be the same; what waits of them is cancelled by \
            `godwit cancel --request campaign-7`.

            Exit status: 0 when every push was delivered (with --no-wait: accepted), 1 when one was not or the gateway \
            cannot be reached, 2 when the command line is wrong.
            """
    )

    @OptionGroup(title: "One push") var push: PushFlags

    @Option(name: .shortAndLong, help: "File of pushes, one JSON object a line; - is standard input.")
    var file: String?

    @OptionGroup var gateway: GatewayOption

    @Flag(name: .customLong("no-wait"), help: "Do not wait for the verdicts; being accepted is enough.")
    var isNotWaiting = false

    @Option(help: "How long to wait for the verdicts, in seconds.")
    var timeout = 300

    @Option(help: "How long the gateway may say nothing, in seconds.")
    var answerTimeout = TimeoutOption.secondsDefault

    @Option(help: "A name for these pushes, so that giving the command again sends nothing twice.")
    var idempotencyKey: String?

    @Option(help: "Write the gateway's line for each push to this file.")
    var results: String?

    @Flag(name: .customLong("json"), help: "Print the summary as JSON.")
    var isJSON = false

    func validate() throws {
        if file != nil {
            guard push.isEmpty else {
                throw ValidationError(
                    "--file takes everything about its pushes from its lines; leave the other flags out")
            }
        } else if let problem = push.problem {
            throw ValidationError(problem)
        }
        guard timeout >= 0 else { throw ValidationError("--timeout is a number of seconds") }
        guard (1...86_400).contains(answerTimeout) else {
            throw ValidationError("--answer-timeout is 1 to 86400 seconds")
        }
        if let idempotencyKey {
            let isGood = idempotencyKey.utf8.allSatisfy { (0x21...0x7E).contains($0) && !#"",;\"#.utf8.contains($0) }
            guard isGood, (1...200).contains(idempotencyKey.utf8.count) else {
                throw ValidationError(
                    "--idempotency-key is 1 to 200 printable ASCII characters without quotes, commas, semicolons and spaces"
                )
            }
        }
    }

    func run() async throws {
        let source = try file.map { try PushSource(path: $0) } ?? PushSource(bytes: push.line)
        let results = try results.map { try ResultFile(path: $0) }
        let summary = try await GatewayAPI.with(gateway.address, timeout: .seconds(answerTimeout)) { api in
            var flow = SendFlow(
                gateway: api, source: source, waitLimit: isNotWaiting ? nil : .seconds(timeout), results: results,
                idempotencyKey: idempotencyKey, isQuiet: file == nil
            )
            try await flow.run()
            report(flow)
            return flow.summary
        }
        if let failure = summary.failure {
            let advice = idempotencyKey == nil ? "" : "; the same command again sends nothing twice"
            throw GatewayFailure(description: failure + advice)
        }
        if !summary.isGood { throw ExitCode.failure }
    }

    private func report(_ flow: SendFlow) {
        let summary = flow.summary
        if isJSON {
            print(summary.json)
        } else if file == nil {
            if let id = flow.lastID { print(id) }
            if let refusal = flow.lastRefusal {
                print(
                    "refused: \(refusal.code) \(refusal.reason)\(refusal.detail.isEmpty ? "" : ", \(refusal.detail)")")
            }
            for (row, _) in summary.rows where row.state != "refused" {
                print(row.code == 0 ? row.state : "\(row.state): \(row.code) \(row.reason)")
            }
        } else if summary.failure == nil || summary.answered > 0 {
            print(summary.text)
        }
    }
}
