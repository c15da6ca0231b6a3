import Foundation
import PushTesting
import Testing

/// `docs/reference/cli.md`: its sections, by command.
private struct CommandLinePage {
    /// The options and subcommands of one command.
    struct Section {
        /// `godwit dead-letters list`
        var command: String
        var options: Set<String>
        var subcommands: Set<String>
    }

    let sections: [Section]

    init() throws {
        let path = "\(Repository.root)/docs/reference/cli.md"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        var sections: [Section] = []
        for line in text.split(separator: "\n") {
            if line.hasPrefix("##"), let heading = line.firstMatch(of: /`([a-z -]+)`$/) {
                sections.append(Section(command: String(heading.1), options: [], subcommands: []))
            } else if line.hasPrefix("| `"), !sections.isEmpty {
                let cell = line.dropFirst().prefix { $0 != "|" }
                let options = cell.matches(of: /`(--[a-z-]+)`/).map { String($0.1) }
                sections[sections.count - 1].options.formUnion(options)
                if options.isEmpty, let name = cell.firstMatch(of: /`([a-z-]+)`/) {
                    sections[sections.count - 1].subcommands.insert(String(name.1))
                }
            }
        }
        self.sections = sections
    }
}

@Suite struct `The command line reference` {
    @Test func `has the commands and options of the help`() async throws {
        let page = try CommandLinePage()
        try #require(page.sections.count > 15)
        for section in page.sections {
            let words = section.command.split(separator: " ").map(String.init)
            let folder = (Repository.godwit as NSString).deletingLastPathComponent
            let help = try await run("\(folder)/\(words[0])", Array(words.dropFirst()) + ["--help"])
            #expect(help.exit == .status(0), "\(section.command): \(help.error)")
            #expect(options(in: help.output) == section.options, "\(section.command)")
            #expect(subcommands(in: help.output) == section.subcommands, "\(section.command)")
        }
    }

    @Test func `has a section for every command`() throws {
        let page = try CommandLinePage()
        let commands = Set(page.sections.map(\.command))
        for section in page.sections {
            for name in section.subcommands { #expect(commands.contains("\(section.command) \(name)")) }
        }
    }

    /// In the help, options are indented by two spaces and descriptions by more.
    private func options(in help: String) -> Set<String> {
        let found = help.matches(of: /(?m)^ {2}(?:-\w, )?(--[a-z-]+)/).map { String($0.1) }
        return Set(found).subtracting(["--help", "--version"])
    }

    private func subcommands(in help: String) -> Set<String> {
        guard let start = help.range(of: "SUBCOMMANDS:\n") else { return [] }
        let found = help[start.upperBound...].matches(of: /(?m)^ {2}([a-z][a-z-]*)(?= )/).map { String($0.1) }
        return Set(found)
    }
}
