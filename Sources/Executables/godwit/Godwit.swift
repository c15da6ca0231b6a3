import ArgumentParser

@main
struct Godwit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "godwit", subcommands: [Send.self, Status.self])
}
