import GodwitCLI
import Testing

@Suite struct `Unknown options` {
    @Test(arguments: [
        ("status --jsn", "Unknown option '--jsn'. Did you mean '--json'?"),
        ("backup --stor x", "Unknown option '--stor'. Did you mean '--store'?"),
        ("send --timeout x --nosuch=hunter2", "Unknown option '--nosuch'"),
        ("dead-letters --lmit 3", "Unknown option '--lmit'. Did you mean '--limit'?"),
        ("dead-letters purge --yess", "Unknown option '--yess'. Did you mean '--yes'?"),
    ])
    func `are named, with the option that is meant and without a value`(_ arguments: String, _ error: String) {
        #expect(Self.advice(arguments) == error)
    }

    @Test(arguments: [
        "status", "send --alert --nosuch", "send --alert=--nosuch", "cancel -- --nosuch", "send -f x --json", "nosuch",
        "send --help",
    ])
    func `are not found in the values of other options`(_ arguments: String) {
        #expect(Self.advice(arguments) == nil)
    }

    private static func advice(_ arguments: String) -> String? {
        UnknownOption.advice(for: arguments.split(separator: " ").map(String.init), of: Godwit.self)
    }
}
