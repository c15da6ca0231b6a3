import ArgumentParser
import Foundation
import PushGateway

struct Backup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy the gateway's database while it runs.",
        discussion: """
            The copy is consistent, checked, and holds everything that was acknowledged before the command began. It holds \
            device tokens and payloads in clear.
            """
    )

    @Option(name: .shortAndLong, help: "The gateway's configuration file (YAML).")
    var config = "godwit.yaml"

    @Option(help: "Use this folder of the database instead of the configured one.")
    var store: String?

    @Option(name: .customLong("to"), help: "The file to write; must not exist.")
    var file: String

    mutating func run() async throws {
        var configuration = try GatewayConfiguration.read(path: config)
        if let store { configuration.storePath = store }
        let source = configuration
        let contents = try await started { try StoreFiles.backUp(source, to: file) }
        Terminal.say("\(file): \(contents.text)")
    }
}

extension StoreFiles.Contents {
    /// One line for people.
    fileprivate var text: String {
        let size = ByteCountFormatter.string(fromByteCount: Int64(bytes), countStyle: .binary)
        return "\(size), \(batches) batches, \(pushesWaiting) pushes waiting, \(deadLetters) dead letters"
    }
}

struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put a backup in the place of the gateway's database.",
        discussion: """
            The gateway must be stopped. The queue is work in progress: what was delivered since the backup is sent again, \
            unless it is cancelled first, for which --paused leaves time.
            """
    )

    @Option(name: .shortAndLong, help: "The gateway's configuration file (YAML).")
    var config = "godwit.yaml"

    @Option(help: "Use this folder of the database instead of the configured one.")
    var store: String?

    @Option(name: .customLong("from"), help: "The backup.")
    var file: String

    @Flag(help: "Keep a database that is there under another name, beside the new one.")
    var replace = false

    @Flag(help: "Pause every app: nothing is sent before `godwit resume`.")
    var paused = false

    mutating func run() async throws {
        var configuration = try GatewayConfiguration.read(path: config)
        if let store { configuration.storePath = store }
        let target = configuration
        let contents = try await started {
            try await StoreFiles.restore(target, from: file, replacing: replace, isPaused: paused)
        }
        Terminal.say("\(target.storePath): \(contents.text)" + (paused ? "; every app is paused" : ""))
    }
}
