import ArgumentParser

/// Lists the gateway's apps.
struct AppsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apps",
        abstract: "List the gateway's apps and their waiting pushes.",
        discussion: "Exit status: 0, or 1 if the gateway cannot be reached."
    )

    @OptionGroup var gateway: GatewayOptions

    func run() async throws {
        let body = try await gateway.call { try await $0.get("/api/v1/apps") }
        try gateway.write(body) { try ControlResponses.decode(AppsResponse.self, from: $0).text }
    }
}

/// Pauses an app.
struct PauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Pause an app: its pushes are accepted and wait.",
        discussion: """
            The app stays paused until it is resumed, even across restarts. Pushes that are already being sent still \
            arrive. Pushes whose expiration passes while they wait expire.

            Exit status: 0, or 1 if there is no such app or the gateway cannot be reached.
            """
    )

    @OptionGroup var target: AppTarget

    func run() async throws {
        try await target.post("pause") { "\($0) is paused: its pushes wait for godwit resume" }
    }
}

/// Resumes a paused app.
struct ResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Resume a paused app.",
        discussion: "Exit status: 0, or 1 if there is no such app or the gateway cannot be reached."
    )

    @OptionGroup var target: AppTarget

    func run() async throws {
        try await target.post("resume") { "\($0) is resumed: its pushes are sent again" }
    }
}

/// The app that a command acts on.
struct AppTarget: ParsableArguments {
    @Argument(help: "Name of the app in the gateway's configuration.")
    var app: String

    @OptionGroup var gateway: GatewayOptions

    /// Posts to `/api/v1/apps/APP/ACTION`.
    ///
    /// - Parameter confirmation: the line to print for the app's name on success.
    func post(_ action: String, confirmation: (String) -> String) async throws {
        let body = try await gateway.call(app: app) { api in
            try await api.post("/api/v1/apps/\(ControlRequest.escaped(app))/\(action)")
        }
        try gateway.write(body) { _ in confirmation(app) }
    }
}
