import Foundation
import PushTesting
import Testing

@Suite struct `Standard output that cannot be written` {
    private static let commands = [
        [Repository.godwit, "send", "--help"], [Repository.godwit, "--version"],
        [Repository.godwitLab, "simulate-path", "--seed", "1"], [Repository.godwitLab, "--help"],
    ]

    /// Whether /dev/full is the device that fails every write. A container may lack it, and a redirection would then
    /// create a file there.
    private static let hasFullDevice: Bool = {
        var status = stat()
        return stat("/dev/full", &status) == 0 && status.st_mode & S_IFMT == S_IFCHR
    }()

    /// Runs `command` in bash. Its standard output is a pipe without a reader: the sleep outlasts the reader's exit.
    private func runWithClosedPipe(_ command: [String], environment: [String: String] = [:]) async throws
        -> ProgramResult
    {
        try await run(
            "bash", ["-c", #"set -o pipefail; (sleep 0.3; exec "$@") | true"#, "bash"] + command,
            environment: environment)
    }

    @Test(arguments: commands) func `ends a command quietly if it is a closed pipe`(_ command: [String]) async throws {
        let result = try await runWithClosedPipe(command)
        #expect(result.exit == .status(1))
        #expect(result.error.isEmpty, "\(result.error)")
    }

    @Test(.enabled(if: hasFullDevice), arguments: commands)
    func `is reported in one line if the disk is full`(_ command: [String]) async throws {
        let result = try await run("bash", ["-c", #"exec "$@" >/dev/full"#, "bash"] + command)
        #expect(result.exit == .status(1))
        #expect(result.error == "standard output: no space left on device\n")
    }

    @Test func `ends a command that prints a response`() async throws {
        let gateway = try await RunningGateway.start()
        let environment = ["GODWIT_URL": gateway.url]
        let closed = try await runWithClosedPipe([Repository.godwit, "apps"], environment: environment)
        #expect(closed.exit == .status(1))
        #expect(closed.error.isEmpty, "\(closed.error)")
        #expect(try await gateway.stop() == .status(0))
    }

    @Test(.enabled(if: hasFullDevice))
    func `does not matter for errors: a full disk for standard error leaves the exit status`() async throws {
        let result = try await run(
            "bash", ["-c", #"exec "$@" 2>/dev/full"#, "bash", Repository.godwit, "send", "--no-such-flag"])
        #expect(result.exit == .status(2))
    }
}
