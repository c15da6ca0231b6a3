import ArgumentParser

/// Shows the state of one push.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the state of a push.",
        discussion: "Exit status: 0 if the push is known, 1 if it is not or the gateway cannot be reached."
    )

    @OptionGroup var push: PushArgument

    func run() async throws {
        try await push.show { api, id in
            guard let body = try await api.status(id) else {
                throw GatewayFailure(description: "\(id): the gateway has no push with this ID")
            }
            return body
        }
    }
}
