package import ArgumentParser
import Foundation
import PushGateway

/// Runs a command line. `godwit` and `godwit-lab` share exit statuses and error reporting.
package enum CommandLineTool {
    package static let version = GodwitVersion.current

    /// Whether the command line is parsed only to find unknown options. A `validate()` that requires an option returns
    /// early then: a misspelt option is the more useful error, and the parser reports it after `validate()`.
    @TaskLocal static var isFindingUnknownOptions = false

    /// Parses the arguments of the process and runs the chosen subcommand of `root`.
    ///
    /// Exit status: 0 on success, 2 for a wrong command line, 1 for any other failure.
    package static func run(_ root: any ParsableCommand.Type) async {
        // A write to a closed connection must fail with an error instead of ending the process.
        signal(SIGPIPE, SIG_IGN)
        do {
            _ = try $isFindingUnknownOptions.withValue(true) { try root.parseAsRoot() }
            var command = try root.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            exit(after: error, of: root)
        }
    }

    private static func exit(after error: any Error, of root: any ParsableCommand.Type) -> Never {
        let message = root.fullMessage(for: error)
        switch root.exitCode(for: error) {
        case .success:
            Terminal.writeOutput(message)
            Foundation.exit(0)
        case .validationFailure:
            let advice = FormerNames.advice(
                for: Array(CommandLine.arguments.dropFirst()), of: root.configuration.commandName ?? "")
            Terminal.writeError(advice.map { "Error: \($0)" } ?? message)
            Foundation.exit(2)
        default:
            if !message.isEmpty { Terminal.writeError(message) }
            Foundation.exit(1)
        }
    }
}
