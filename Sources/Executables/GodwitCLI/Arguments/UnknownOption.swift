package import ArgumentParser
import Foundation

/// Finds options that a command does not have. The parser reports a missing argument first, although the misspelt option is
/// often the cause.
package enum UnknownOption {
    private struct Tool: Decodable {
        var command: Command
    }

    private struct Command: Decodable {
        var commandName: String
        var subcommands: [Command]?
        var arguments: [Argument]?
    }

    private struct Argument: Decodable {
        struct Name: Decodable {
            var kind: String
            var name: String

            var text: String { (kind == "long" ? "--" : "-") + name }
        }

        var kind: String
        var names: [Name]?
    }

    /// The error for a command line that was refused.
    ///
    /// - Parameter arguments: without the name of the program.
    /// - Returns: nil if the command has all options. The text contains no value.
    package static func advice(for arguments: [String], of root: any ParsableCommand.Type) -> String? {
        guard var command = try? JSONDecoder().decode(Tool.self, from: Data(root._dumpHelp().utf8)).command else {
            return nil
        }
        var rest = arguments[...]
        while let subcommand = command.subcommands?.first(where: { $0.commandName == rest.first }) {
            command = subcommand
            rest.removeFirst()
        }
        // Without a subcommand the options may be those of a default one, which the description does not name.
        let arguments = ([command] + (command.subcommands ?? [])).flatMap { $0.arguments ?? [] }
        var takesValue: [String: Bool] = [:]
        for argument in arguments {
            for name in argument.names ?? [] { takesValue[name.text] = argument.kind == "option" }
        }
        while let argument = rest.popFirst(), argument != "--" {
            guard argument.hasPrefix("--") else { continue }
            let name = String(argument.prefix { $0 != "=" })
            guard let hasValue = takesValue[name] else {
                let nearest = takesValue.keys.filter { $0.hasPrefix("--") }
                    .min { (distance(name, $0), $0) < (distance(name, $1), $1) }
                let hint = nearest.flatMap { distance(name, $0) <= 2 ? ". Did you mean '\($0)'?" : nil }
                return "Unknown option '\(name)'" + (hint ?? "")
            }
            if hasValue, name == argument { _ = rest.popFirst() }
        }
        return nil
    }

    /// The number of characters to insert, delete or replace.
    private static func distance(_ first: String, _ second: String) -> Int {
        var row = Array(0...second.count)
        for (line, one) in first.enumerated() {
            var diagonal = row[0]
            row[0] = line + 1
            for (column, other) in second.enumerated() {
                let cost = min(diagonal + (one == other ? 0 : 1), row[column] + 1, row[column + 1] + 1)
                diagonal = row[column + 1]
                row[column + 1] = cost
            }
        }
        return row[second.count]
    }
}
