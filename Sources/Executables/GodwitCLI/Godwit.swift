package import ArgumentParser

/// The `godwit` command line.
package struct Godwit: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "godwit",
        abstract: "Send Apple push notifications reliably.",
        version: CommandLineTool.version,
        subcommands: [
            ServeCommand.self, CheckCommand.self, DemoCommand.self, SimulateCommand.self, TokenCommand.self,
            LintCommand.self, SendCommand.self, StatusCommand.self, MessagesCommand.self, CancelCommand.self,
            AppsCommand.self, PauseCommand.self, ResumeCommand.self,
            DeadLettersCommand.self, BackupCommand.self, RestoreCommand.self,
        ]
    )

    package init() {}
}
