package import ArgumentParser
import Foundation
import PushGateway
import PushModel

/// Runs a command line. `godwit` and `godwit-lab` share exit statuses and error reporting.
package enum CommandLineTool {
    package static let version = GodwitVersion.current

    /// Parses the arguments of the process and runs the chosen subcommand of `root`.
    ///
    /// Exit status: 0 on success, 2 for a wrong command line, 1 for any other failure.
    package static func run(_ root: any ParsableCommand.Type) async {
        // A write to a closed connection must fail with an error instead of ending the process.
        signal(SIGPIPE, SIG_IGN)
        do {
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
        let text = root.fullMessage(for: error)
        let code = root.exitCode(for: error)
        if code == .success {
            Terminal.writeOutput(text)
            Foundation.exit(0)
        }
        // The user knows the value; it may be a password that belongs elsewhere.
        let message = SecretText.masked(
            text.replacing(/The value '.*' is invalid/.dotMatchesNewlines(), with: "The value is invalid"))
        switch code {
        case .validationFailure:
            let arguments = Array(CommandLine.arguments.dropFirst())
            let advice =
                FormerNames.advice(for: arguments, of: root.configuration.commandName ?? "")
                ?? UnknownOption.advice(for: arguments, of: root)
            Terminal.writeError(advice.map { "Error: \($0)" } ?? message)
            Foundation.exit(2)
        default:
            if !message.isEmpty { Terminal.writeError(message) }
            Foundation.exit(1)
        }
    }
}
