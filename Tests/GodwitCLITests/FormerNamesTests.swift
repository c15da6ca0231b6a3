import GodwitCLI
import Testing

@Suite struct `Former names on the command line` {
    @Test(arguments: [
        ("godwit bench", "'godwit bench' is 'godwit-lab bench' now"),
        ("godwit torture --pushes 10", "'godwit torture' is 'godwit-lab torture' now"),
        ("godwit simulate-path", "'godwit simulate-path' is 'godwit-lab simulate-path' now"),
        ("godwit send --token ab --answer-timeout 5", "'--answer-timeout' is '--response-timeout' now"),
        ("godwit send --answer-timeout=5", "'--answer-timeout' is '--response-timeout' now"),
        ("godwit serve --take-over", "'--take-over' is '--takeover' now"),
    ])
    func `the present name is given`(command: String, advice: String) {
        #expect(Self.advice(command) == advice)
    }

    @Test(arguments: [
        "godwit", "godwit send --token ab", "godwit-lab bench --nosuch", "godwit cancel -- --take-over",
        "godwit send --alert=--answer-timeout",
    ])
    func `other command lines have no advice`(command: String) { #expect(Self.advice(command) == nil) }

    private static func advice(_ command: String) -> String? {
        let words = command.split(separator: " ").map(String.init)
        return FormerNames.advice(for: Array(words.dropFirst()), of: words[0])
    }
}
