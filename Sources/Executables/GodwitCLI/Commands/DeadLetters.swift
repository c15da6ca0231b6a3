import APNSWire
import ArgumentParser

/// Pushes that were given up.
struct DeadLetters: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead-letters",
        abstract: "List, show, replay and purge pushes that were given up.",
        discussion: """
            A push is given up when it was tried too often, or when the gateway crashed each time it worked on it. It is \
            kept with its payload until it is replayed or purged, or its time is over.

              godwit dead-letters list --app com.example.app
              godwit dead-letters replay --all
            """,
        subcommands: [List.self, Show.self, Replay.self, Purge.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List dead letters.", discussion: "Exit status: 0, or 1 when the gateway cannot be reached."
        )

        @Option(help: "Only those of this app.")
        var app: String?

        @Option(help: "How many to list.")
        var limit = 100

        @OptionGroup var gateway: TimeoutOption

        @Flag(name: .customLong("json"), help: "Print the gateway's JSON as it is, a page at a time.")
        var isJSON = false

        func validate() throws {
            guard limit >= 1 else { throw ValidationError("--limit is at least 1") }
        }

        func run() async throws {
            var letters: [DeadLettersResponse.Letter] = []
            var next: String?
            try await gateway.call { api in
                repeat {
                    var path = "/api/v1/dead-letters?limit=\(min(1000, limit - letters.count))"
                    if let app { path += "&app=" + ControlRequest.escaped(app) }
                    if let next { path += "&after=" + ControlRequest.escaped(next) }
                    let page = try await api.get(path)
                    if isJSON { Terminal.say(JSONResponse.trimmed(page)) }
                    let answer = try ControlResponses.decode(DeadLettersResponse.self, from: page)
                    letters += answer.deadLetters
                    next = answer.next
                } while next != nil && letters.count < limit
            }
            if isJSON { return }
            guard !letters.isEmpty else { return Terminal.say("there are no dead letters") }
            Terminal.say(DeadLettersResponse.text(letters))
            if next != nil { Terminal.note("there may be more; see --limit") }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one dead letter, without its device token and payload.",
            discussion: "Exit status: 0, or 1 when there is none of this id or the gateway cannot be reached."
        )

        @Argument(help: "The msg_id of the push.")
        var id: String

        @OptionGroup var gateway: TimeoutOption

        @Flag(name: .customLong("json"), help: "Print the gateway's JSON as it is.")
        var isJSON = false

        func validate() throws {
            guard APNSID(id) != nil else { throw ValidationError("\(id) is not an id of a push") }
        }

        func run() async throws {
            let answer = try await gateway.call { api in
                try await api.get("/api/v1/dead-letters/\(id)")
            }
            Terminal.say(isJSON ? JSONResponse.trimmed(answer) : Status.text(answer))
        }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send dead letters again, under their old ids.",
            discussion: """
                Exit status: 0, or 1 when none of the ids was a dead letter or the gateway cannot be reached; 2 when the \
                command line is wrong.
                """
        )

        @OptionGroup var selection: DeadLetterChoice

        func run() async throws { try await selection.tell("replay", done: "replayed") }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget dead letters and their payloads. There is no way back.",
            discussion: """
                Exit status: 0, or 1 when none of the ids was a dead letter or the gateway cannot be reached; 2 when the \
                command line is wrong.
                """
        )

        @OptionGroup var selection: DeadLetterChoice

        func run() async throws { try await selection.tell("purge", done: "purged") }
    }
}

/// Which dead letters a command is about.
struct DeadLetterChoice: ParsableArguments {
    @Argument(help: "Ids of pushes.")
    var ids: [String] = []

    @Option(help: "All of this app.")
    var app: String?

    @Flag(name: .customLong("all"), help: "All there are.")
    var isAll = false

    @OptionGroup var gateway: TimeoutOption

    @Flag(name: .customLong("json"), help: "Print the gateway's JSON as it is.")
    var isJSON = false

    func validate() throws {
        guard [!ids.isEmpty, app != nil, isAll].count(where: { $0 }) == 1 else {
            throw ValidationError("give ids, or --app, or --all")
        }
        for id in ids where APNSID(id) == nil { throw ValidationError("\(id) is not an id of a push") }
    }

    private var bodies: [[UInt8]] {
        if isAll { return [ControlRequest.all] }
        if let app { return [ControlRequest.body("app", app)] }
        let ids = ids.compactMap { APNSID($0) }
        return stride(from: 0, to: ids.count, by: GatewayAPI.idsPerQuery).map { start in
            ControlRequest.body(ids: ids[start..<min(start + GatewayAPI.idsPerQuery, ids.count)])
        }
    }

    func tell(_ verb: String, done: String) async throws {
        let (count, unreadable) = try await gateway.call { api in
            var (count, unreadable) = (0, 0)
            for body in bodies {
                let answer = try await api.post("/api/v1/dead-letters/\(verb)", body)
                if isJSON { Terminal.say(JSONResponse.trimmed(answer)) }
                let counts = try ControlResponses.decode([String: Int].self, from: answer)
                count += counts[done] ?? 0
                unreadable += counts["unreadable"] ?? 0
            }
            return (count, unreadable)
        }
        if !isJSON {
            Terminal.say(
                count == 0 && unreadable == 0
                    ? ids.isEmpty ? "nothing to \(verb)" : "there are no such dead letters"
                    : "\(count.grouped) dead \(count == 1 ? "letter" : "letters") \(done)"
            )
            if unreadable > 0 { Terminal.say("\(unreadable.grouped) cannot be read and stay where they are") }
        }
        if count == 0, !ids.isEmpty { throw ExitCode.failure }
    }
}
