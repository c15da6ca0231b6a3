import ArgumentParser
import PushGateway

/// Checks a configuration and the files that it names.
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check a configuration file and the files that it names.",
        discussion: """
            Reports all problems, each with its line, and exits with status 1 if there is one: values, keys, certificates, \
            passwords, roots and the folder of the database. Run it as the user of the gateway, which must be able to read \
            these files. Nothing is changed, and a running gateway is not disturbed.
            """
    )

    @Option(name: .shortAndLong, help: "Configuration file (YAML).")
    var config = "godwit.yaml"

    @Option(help: "Folder of the database instead of the configured one.")
    var store: String?

    mutating func run() async throws {
        let store = store
        let (configuration, warnings) = try GatewayConfiguration.check(path: config) { configuration in
            if let store { configuration.storePath = store }
        }
        for warning in warnings { Terminal.writeError("warning: \(config): \(warning)") }
        let apps = configuration.apps.count
        Terminal.writeOutput("\(config): no problems, \(apps) \(apps == 1 ? "app" : "apps")")
    }
}
