package import ArgumentParser
import Foundation

/// Finds commands and options that do not exist. The parser reports a missing argument first, although the misspelt option is
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
        var path = command.commandName
        while let subcommand = command.subcommands?.first(where: { $0.commandName == rest.first }) {
            command = subcommand
            path += " \(subcommand.commandName)"
            rest.removeFirst()
        }
        if let name = rest.first, let unknown = unknownCommand(name, in: command, path: path) { return unknown }
        // Without a subcommand the options may be those of a default one, which the description does not name.
        let arguments = ([command] + (command.subcommands ?? [])).flatMap { $0.arguments ?? [] }
        var takesValue: [String: Bool] = [:]
        for argument in arguments {
            for name in argument.names ?? [] { takesValue[name.text] = argument.kind == "option" }
        }
        while let argument = rest.popFirst(), argument != "--" {
            guard argument.hasPrefix("-"), argument != "-", Double(argument) == nil else { continue }
            // A short option may be followed by its value, without a space.
            let isLong = argument.hasPrefix("--")
            let name = isLong ? String(argument.prefix { $0 != "=" }) : String(argument.prefix(2))
            guard let hasValue = takesValue[name] ?? (Self.always.contains(name) ? false : nil) else {
                let names = takesValue.keys.filter { $0.hasPrefix("--") } + always.filter { $0.hasPrefix("--") }
                return "Unknown option '\(name)'" + (isLong ? hint(for: name, in: names) : "")
            }
            if hasValue, name == argument { _ = rest.popFirst() }
        }
        return nil
    }

    /// Options that the parser adds to every command.
    private static let always: Set = ["--help", "-h", "--version"]

    /// - Returns: the end of a sentence; empty if no name is close.
    private static func hint(for name: String, in names: [String]) -> String {
        let nearest = names.min { (distance(name, $0), $0) < (distance(name, $1), $1) }
        return nearest.flatMap { distance(name, $0) <= 2 ? ". Did you mean '\($0)'?" : nil } ?? ""
    }

    /// The error for the name of a command that does not exist, if a command is expected.
    private static func unknownCommand(_ name: String, in command: Command, path: String) -> String? {
        guard let subcommands = command.subcommands, !subcommands.isEmpty, !name.hasPrefix("-"), !name.isEmpty,
            command.arguments?.contains(where: { $0.kind == "positional" }) != true
        else { return nil }
        // A value that was put there by mistake may be a secret.
        guard name.count <= 24, name.allSatisfy({ $0.isLetter || $0 == "-" }) else { return nil }
        let close = hint(for: name, in: subcommands.map(\.commandName))
        return "Unknown command '\(name)'" + (close.isEmpty ? "; '\(path) --help' lists the commands" : close)
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
