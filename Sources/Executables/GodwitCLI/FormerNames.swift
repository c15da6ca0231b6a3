/// Commands and options of earlier versions, and what they are called now.
package enum FormerNames {
    private static let commands = [
        "bench": "godwit-lab bench", "torture": "godwit-lab torture", "simulate-path": "godwit-lab simulate-path",
    ]
    private static let options = ["--answer-timeout": "--response-timeout", "--take-over": "--takeover"]

    /// What to write instead of a former name in a command line that was refused.
    ///
    /// - Parameters:
    ///   - arguments: without the name of the program.
    ///   - program: the name of the program.
    /// - Returns: nil if there is no former name.
    package static func advice(for arguments: [String], of program: String) -> String? {
        if program == "godwit", let command = arguments.first, let name = commands[command] {
            return "'\(program) \(command)' is '\(name)' now"
        }
        for argument in arguments.prefix(while: { $0 != "--" }) {
            let option = String(argument.prefix { $0 != "=" })
            if let name = options[option] { return "'\(option)' is '\(name)' now" }
        }
        return nil
    }
}
