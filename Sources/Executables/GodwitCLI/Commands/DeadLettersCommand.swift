import ArgumentParser
import Foundation

/// Commands for pushes that were given up.
struct DeadLettersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead-letters",
        abstract: "List, show, replay and purge pushes that were given up.",
        discussion: """
            A push is given up after too many attempts, or when the gateway crashed each time it handled the push. It \
            is kept with its payload until it is replayed or purged, or until the retention ends.

              godwit dead-letters list --app com.example.app
              godwit dead-letters replay --all
            """,
        subcommands: [List.self, Show.self, Replay.self, Purge.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List dead letters.",
            discussion: """
                With --json, each page of up to 1,000 dead letters is one JSON object.

                Exit status: 0, or 1 if the gateway cannot be reached.
                """
        )

        @Option(help: "List only dead letters of this app.")
        var app: String?

        @Option(help: "Maximum number to list.")
        var limit = 100

        @OptionGroup var gateway: GatewayOptions

        func validate() throws {
            guard limit >= 1 else { throw ValidationError("--limit must be at least 1") }
        }

        func run() async throws {
            var letters: [DeadLettersResponse.Letter] = []
            var next: String?
            try await gateway.call(app: app) { api in
                repeat {
                    var path = "/api/v1/dead-letters?limit=\(min(1000, limit - letters.count))"
                    if let app { path += "&app=" + ControlRequest.escaped(app) }
                    if let next { path += "&after=" + ControlRequest.escaped(next) }
                    let body = try await api.get(path)
                    if gateway.isJSON { Terminal.writeOutput(JSONResponse.trimmed(body)) }
                    let page = try ControlResponses.decode(DeadLettersResponse.self, from: body)
                    letters += page.deadLetters
                    next = page.next
                } while next != nil && letters.count < limit
            }
            if gateway.isJSON { return }
            guard !letters.isEmpty else { return Terminal.writeOutput("no dead letters") }
            Terminal.writeOutput(DeadLettersResponse.text(letters))
            if next != nil { Terminal.writeError("there may be more: raise --limit") }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one dead letter, without its device token and payload.",
            discussion: "Exit status: 0, or 1 if there is no such dead letter or the gateway cannot be reached."
        )

        @OptionGroup var push: PushArgument

        func run() async throws {
            try await push.show { api, id in try await api.get("/api/v1/dead-letters/\(id)") }
        }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send dead letters again, under their old IDs.", discussion: DeadLetterArguments.exitStatus
        )

        @OptionGroup var selection: DeadLetterArguments

        func run() async throws { try await selection.post(.replay) }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete dead letters and their payloads. This cannot be undone.",
            discussion: "Asks for confirmation.\n\n" + DeadLetterArguments.exitStatus
        )

        @OptionGroup var selection: DeadLetterArguments

        @Flag(name: .customLong("yes"), help: "Do not ask; required if standard input is not a terminal.")
        var isConfirmed = false

        func validate() throws {
            guard isConfirmed || isatty(STDIN_FILENO) == 1 else {
                throw ValidationError("purge cannot be undone; confirm it with --yes")
            }
        }

        func run() async throws {
            if !isConfirmed { try confirm() }
            try await selection.post(.purge)
        }

        private func confirm() throws {
            Terminal.writeError(
                unterminated: "Delete \(selection.title) and their payloads? This cannot be undone. [y/N] ")
            guard ["y", "yes"].contains(readLine()?.lowercased()) else {
                throw CommandError("not confirmed; nothing was deleted")
            }
        }
    }
}

/// The dead letters that `replay` and `purge` act on.
struct DeadLetterArguments: ParsableArguments {
    enum Action: String {
        case replay, purge

        /// The participle, which is also the name of the count in the response.
        var done: String { self == .replay ? "replayed" : "purged" }
    }

    static let exitStatus = """
        Exit status: 0; 1 if none of the IDs is a dead letter or the gateway cannot be reached; 2 if the command line \
        is wrong.
        """

    @Argument(help: "Push IDs.")
    var ids: [String] = []

    @Option(help: "All dead letters of this app.")
    var app: String?

    @Flag(name: .customLong("all"), help: "All dead letters.")
    var isAll = false

    @OptionGroup var gateway: GatewayOptions

    func validate() throws {
        guard [!ids.isEmpty, app != nil, isAll].count(where: { $0 }) == 1 else {
            throw ValidationError("give either push IDs, --app or --all")
        }
        _ = try PushIDs.parse(ids)
    }

    /// What is selected, for a question.
    var title: String {
        if isAll { return "all dead letters" }
        if let app { return "all dead letters of \(app)" }
        return ids.count == 1 ? "the dead letter \(ids[0])" : "\(ids.count.grouped) dead letters"
    }

    private func bodies() throws -> [[UInt8]] {
        if isAll { return [ControlRequest.all] }
        if let app { return [ControlRequest.body("app", app)] }
        return ControlRequest.bodies(ids: try PushIDs.parse(ids))
    }

    /// Posts to `/api/v1/dead-letters/ACTION` and prints how many dead letters it changed.
    func post(_ action: Action) async throws {
        let (count, unreadable) = try await gateway.call(app: app) { api in
            var (count, unreadable) = (0, 0)
            for body in try bodies() {
                let response = try await api.post("/api/v1/dead-letters/\(action)", body)
                if gateway.isJSON { Terminal.writeOutput(JSONResponse.trimmed(response)) }
                let counts = try ControlResponses.decode([String: Int].self, from: response)
                count += counts[action.done] ?? 0
                unreadable += counts["unreadable"] ?? 0
            }
            return (count, unreadable)
        }
        if !gateway.isJSON {
            if count == 0, unreadable == 0 {
                Terminal.writeOutput(noneText(action))
            } else {
                Terminal.writeOutput("\(count.grouped) dead \(count == 1 ? "letter" : "letters") \(action.done)")
            }
            if unreadable > 0 { Terminal.writeOutput("\(unreadable.grouped) cannot be decoded and are kept") }
        }
        if count == 0, !ids.isEmpty { throw ExitCode.failure }
    }

    /// The line to print if the selection has no dead letters.
    private func noneText(_ action: Action) -> String {
        switch ids.count {
        case 0: "no dead letters to \(action)"
        case 1: "\(ids[0]) is not a dead letter; it may have been replayed or purged"
        default: "none of these IDs is a dead letter; they may have been replayed or purged"
        }
    }
}
