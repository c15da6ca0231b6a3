package import ArgumentParser

/// The `godwit` command line.
package struct Godwit: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "godwit",
        abstract: "Send Apple push notifications reliably.",
        version: CommandLineTool.version,
        subcommands: [
            Serve.self, Demo.self, Simulate.self, Token.self, Send.self, Status.self, Cancel.self, Apps.self,
            Pause.self, Resume.self, DeadLetters.self, Backup.self, Restore.self,
        ]
    )

    package init() {}
}
