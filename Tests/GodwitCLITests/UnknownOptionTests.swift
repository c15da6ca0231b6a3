import GodwitCLI
import Testing

@Suite struct `Unknown options` {
    @Test(arguments: [
        ("status --jsn", "Unknown option '--jsn'. Did you mean '--json'?"),
        ("backup --stor x", "Unknown option '--stor'. Did you mean '--store'?"),
        ("send --timeout x --nosuch=hunter2", "Unknown option '--nosuch'"),
        ("dead-letters --lmit 3", "Unknown option '--lmit'. Did you mean '--limit'?"),
        ("dead-letters purge --yess", "Unknown option '--yess'. Did you mean '--yes'?"),
        ("send -x --alert y", "Unknown option '-x'"),
        ("serve --versio", "Unknown option '--versio'. Did you mean '--version'?"),
    ])
    func `are named, with the option that is meant and without a value`(_ arguments: String, _ error: String) {
        #expect(Self.advice(arguments) == error)
    }

    @Test(arguments: [
        "status", "send --alert --nosuch", "send --alert=--nosuch", "cancel -- --nosuch", "send -f x --json",
        "send -fx", "send --help", "send --badge -1", "messages -h", "lint -",
    ])
    func `are not found in the values of other options`(_ arguments: String) {
        #expect(Self.advice(arguments) == nil)
    }

    @Test(arguments: [
        ("sned --token x", "Unknown command 'sned'. Did you mean 'send'?"),
        ("nosuch", "Unknown command 'nosuch'; 'godwit --help' lists the commands"),
        ("dead-letters lst", "Unknown command 'lst'. Did you mean 'list'?"),
        ("dead-letters nosuch", "Unknown command 'nosuch'; 'godwit dead-letters --help' lists the commands"),
    ])
    func `differ from unknown commands`(_ arguments: String, _ error: String) {
        #expect(Self.advice(arguments) == error)
    }

    @Test(arguments: ["apps extra", "status 17", "0193f1c27a5e7c3d8f001a2b3c4d0000", "help send"])
    func `differ from arguments, which are not repeated`(_ arguments: String) {
        #expect(Self.advice(arguments) == nil)
    }

    private static func advice(_ arguments: String) -> String? {
        UnknownOption.advice(for: arguments.split(separator: " ").map(String.init), of: Godwit.self)
    }
}
