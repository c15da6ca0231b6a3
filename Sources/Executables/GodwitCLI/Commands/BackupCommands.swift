import ArgumentParser
import Foundation
import PushGateway

/// Copies the database of a running gateway.
struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy the database of a running gateway.",
        discussion: """
            The copy is consistent and verified. It contains everything that was acknowledged before the command \
            started, including device tokens and payloads in plain text.
            """
    )

    @Option(name: .shortAndLong, help: "Configuration file of the gateway (YAML).", transform: UserPath.expanded)
    var config = "godwit.yaml"

    @Option(help: "Folder of the database instead of the configured one.", transform: UserPath.expanded)
    var store: String?

    @Option(name: .customLong("to"), help: "File to write; must not exist.", transform: UserPath.expanded)
    var file: String

    mutating func run() async throws {
        var configuration = try GatewayConfiguration.read(path: config)
        if let store { configuration.storePath = store }
        let source = configuration
        let report = try await withPlainErrors { try StoreFiles.backUp(source, to: file) }
        Terminal.writeOutput("\(file): \(report)")
    }
}

/// Replaces the database of a stopped gateway by a backup.
struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Replace the gateway's database by a backup.",
        discussion: """
            Stop the gateway first. Pushes that were delivered after the backup was made are sent again, unless you \
            cancel them first; use --paused to have time for that.
            """
    )

    @Option(name: .shortAndLong, help: "Configuration file of the gateway (YAML).", transform: UserPath.expanded)
    var config = "godwit.yaml"

    @Option(help: "Folder of the database instead of the configured one.", transform: UserPath.expanded)
    var store: String?

    @Option(name: .customLong("from"), help: "Backup to restore.", transform: UserPath.expanded)
    var file: String

    @Flag(help: "Keep an existing database next to the new one, under another name.")
    var replace = false

    @Flag(help: "Pause every app: nothing is sent before `godwit resume`.")
    var paused = false

    mutating func run() async throws {
        var configuration = try GatewayConfiguration.read(path: config)
        if let store { configuration.storePath = store }
        let target = configuration
        let report = try await withPlainErrors {
            try await StoreFiles.restore(target, from: file, replacing: replace, isPaused: paused)
        }
        Terminal.writeOutput("\(target.storePath): \(report)" + (paused ? "; every app is paused" : ""))
    }
}
