import ArgumentParser
import Foundation

@main
struct Godwit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit",
        abstract: "Sends Apple push notifications reliably.",
        version: GodwitVersion.current,
        subcommands: [
            Serve.self, Demo.self, Simulate.self, SimulatePath.self,
            Token.self, Send.self, Status.self, Cancel.self, Apps.self,
            Pause.self, Resume.self, DeadLetters.self, Backup.self, Restore.self, Bench.self, Torture.self,
            ClientWorker.self, EmptyRoute.self,
        ]
    )

    /// Runs the command line: exit code 0, 2 for a wrong command line, 1 for everything else that goes wrong.
    static func main() async {
        // A peer that hangs up must be an error of that write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            leave(error)
        }
    }

    private static func leave(_ error: any Error) -> Never {
        let message = fullMessage(for: error)
        switch exitCode(for: error) {
        case .success:
            Terminal.say(message)
            Foundation.exit(0)
        case .validationFailure:
            Terminal.note(message)
            Foundation.exit(2)
        default:
            if !message.isEmpty { Terminal.note(message) }
            Foundation.exit(1)
        }
    }
}

enum GodwitVersion {
    static let current = "0.1.0"
}
