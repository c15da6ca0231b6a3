import ArgumentParser

/// Lists the gateway's apps.
struct Apps: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the gateway's apps, and what waits for them.",
        discussion: "Exit status: 0, or 1 when the gateway cannot be reached."
    )

    @OptionGroup var gateway: TimeoutOption

    @Flag(name: .customLong("json"), help: "Print the gateway's JSON as it is.")
    var isJSON = false

    func run() async throws {
        let answer = try await gateway.call { try await $0.get("/api/v1/apps") }
        Terminal.say(
            isJSON ? JSONResponse.trimmed(answer) : try ControlResponses.decode(AppsResponse.self, from: answer).text
        )
    }
}

/// Keeps an app's pushes waiting.
struct Pause: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Pause an app: its pushes are accepted and wait.",
        discussion: """
            It stays paused until it is resumed, also across restarts. What is being sent at the moment still arrives; \
            pushes whose time is over meanwhile expire.

            Exit status: 0, or 1 when there is no such app or the gateway cannot be reached.
            """
    )

    @OptionGroup var target: AppTarget

    func run() async throws {
        try await target.tell("pause") { "\($0) is paused: its pushes are accepted and wait for godwit resume" }
    }
}

/// Lets an app's pushes go on.
struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Resume an app that was paused.",
        discussion: "Exit status: 0, or 1 when there is no such app or the gateway cannot be reached."
    )

    @OptionGroup var target: AppTarget

    func run() async throws {
        try await target.tell("resume") { "\($0) goes on: its pushes are sent" }
    }
}

/// The app that a command is about.
struct AppTarget: ParsableArguments {
    @Argument(help: "The app, by its name in the gateway's configuration.")
    var app: String

    @OptionGroup var gateway: TimeoutOption

    @Flag(name: .customLong("json"), help: "Print the gateway's JSON as it is.")
    var isJSON = false

    /// - Parameter sentence: what to say about the app when it is done.
    func tell(_ verb: String, _ sentence: (String) -> String) async throws {
        let answer = try await gateway.call { api in
            try await api.post("/api/v1/apps/\(ControlRequest.escaped(app))/\(verb)")
        }
        Terminal.say(isJSON ? JSONResponse.trimmed(answer) : sentence(app))
    }
}
