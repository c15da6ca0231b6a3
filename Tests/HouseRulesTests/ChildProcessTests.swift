import Foundation
import PushTesting
import Testing

@Suite struct `Child processes of tests` {
    @Test func `output, error and exit status are separate`() async throws {
        let result = try await run("sh", ["-c", "echo out; echo err >&2; exit 3"])
        #expect(result.exit == .status(3))
        #expect(result.output == "out\n")
        #expect(result.error == "err\n")
    }

    @Test func `a test can wait for a line and kill the program`() async throws {
        let child = try ChildProcess("sh", ["-c", "echo ready at 17; exec cat /dev/zero >/dev/null"])
        #expect(try await child.waitForLine(containing: "ready") == "ready at 17")
        #expect(child.exit == nil)
        try await child.kill()
        #expect(child.exit == .signal(SIGKILL))
        child.signal(SIGTERM)
    }

    @Test func `waiting for a missing line fails when the program ends, and reports its output`() async throws {
        let child = try ChildProcess("sh", ["-c", "echo something else"])
        let failure = await #expect(throws: ChildFailed.self) { try await child.waitForLine(containing: "ready") }
        #expect(failure?.description.contains("something else") == true)
    }

    @Test func `input file, working folder and variables are passed`() async throws {
        let folder = try TemporaryFolder()
        let input = try folder.write("one\ntwo\n", to: "in.txt")
        let result = try await run(
            "sh", ["-c", "cat; pwd; echo $COLOUR $SWIFT_BACKTRACE"], environment: ["COLOUR": "red"], input: input,
            folder: folder.path
        )
        #expect(result.output == "one\ntwo\n\(folder.path)\nred enable=no\n")
    }

    @Test func `a program that cannot be started is an error`() {
        #expect(throws: SystemCallFailed.self) { try ChildProcess("no-such-program-anywhere") }
    }

    @Test func `the end of a very long output is kept`() async throws {
        let result = try await run("sh", ["-c", "yes | head -c 9000000; echo end"])
        #expect(result.output.utf8.count <= ChildProcess.outputBytesMax)
        #expect(result.output.hasSuffix("end\n"))
    }

    @Test func `a child ends with its object`() async throws {
        var child: ChildProcess? = try ChildProcess("sleep", ["1000"])
        let processID = try #require(child?.processID)
        child = nil
        try await waitUntil("the end of the child") { kill(processID, 0) != 0 }
    }

    @Test func `a folder is deleted with its object, a port is free, a listener keeps its port`() throws {
        var folder: TemporaryFolder? = try TemporaryFolder()
        let path = try #require(try folder?.write("x", to: "a"))
        #expect(FileManager.default.fileExists(atPath: path))
        folder = nil
        #expect(!FileManager.default.fileExists(atPath: path))
        let listener = try LoopbackListener()
        #expect(try freePort() != listener.port)
    }
}
