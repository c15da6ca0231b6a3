import Foundation
import Synchronization

/// A program started by a test, with captured output.
///
/// Standard input is empty, or a file. Each output stream is kept in memory up to `outputBytesMax` bytes; the oldest
/// bytes are dropped first. Deinitialisation kills the program, so it does not outlive its test. It does outlive a test
/// process that is killed.
package final class ChildProcess: Sendable {
    /// How the program ended.
    package enum Exit: Sendable, Equatable {
        case status(Int32)
        case signal(Int32)
    }

    package enum Stream: Sendable {
        case output, error
    }

    /// 4 MiB: more than a verbose server writes in a test.
    package static let outputBytesMax = 4 << 20

    package let processID: Int32
    private let record: ChildRecord

    /// Starts `executable`.
    ///
    /// - Parameters:
    ///   - executable: a path, or a name that is looked up in PATH.
    ///   - environment: variables to add to the inherited environment.
    ///   - input: the path of the file for standard input; nil for an empty one.
    ///   - folder: the working directory; nil to inherit it.
    /// - Throws: `SystemCallFailed` if the program cannot be started.
    package init(
        _ executable: String, _ arguments: [String] = [], environment: [String: String] = [:], input: String? = nil,
        folder: String? = nil
    ) throws {
        // A crash report takes seconds, which tests that crash programs need not wait for.
        var variables = ProcessInfo.processInfo.environment
        variables["SWIFT_BACKTRACE"] = "enable=no"
        variables.merge(environment) { $1 }
        // posix_spawn has no portable way to set the working directory. env(1) has, and replaces itself with the
        // program.
        let program = folder == nil ? executable : "env"
        let words = folder.map { ["--chdir=\($0)", executable] + arguments } ?? arguments
        let (process, output, error) = try Self.spawn(
            program, words, variables.map { "\($0)=\($1)" }, input: input ?? "/dev/null"
        )
        processID = process
        let record = ChildRecord(processID: process)
        self.record = record
        Thread.detachNewThread { record.read(.output, from: output) }
        Thread.detachNewThread { record.read(.error, from: error) }
        Thread.detachNewThread { record.waitForEnd() }
    }

    private static func spawn(
        _ program: String, _ words: [String], _ variables: [String], input: String
    ) throws -> (process: Int32, output: PipeEnds, error: PipeEnds) {
        try spawning.withLock { _ in
            let output = try PipeEnds()
            let error = try PipeEnds()
            var actions = SpawnActions()
            actions.open(input, as: 0)
            actions.duplicate(output.write, as: 1)
            actions.duplicate(error.write, as: 2)
            let spawned = actions.spawn(program, words, variables)
            output.closeWrite()
            error.closeWrite()
            guard spawned.code == 0 else {
                output.closeRead()
                error.closeRead()
                throw SystemCallFailed("starting \(program)", code: spawned.code)
            }
            return (spawned.processID, output, error)
        }
    }

    deinit {
        record.signal(SIGKILL)
    }

    /// How the program ended; nil while it runs.
    package var exit: Exit? { record.state.withLock { $0.exit } }

    /// The output so far.
    package func text(_ stream: Stream = .output) -> String {
        record.state.withLock { String(decoding: $0[stream].bytes, as: UTF8.self) }
    }

    /// Sends a signal. Does nothing if the program has ended.
    package func signal(_ number: Int32) {
        record.signal(number)
    }

    /// Kills the program with SIGKILL and waits for its end.
    package func kill(within limit: Duration = .seconds(30)) async throws {
        record.signal(SIGKILL)
        _ = try await waitForExit(within: limit)
    }

    /// Waits for a line that contains `text` and returns it.
    ///
    /// - Throws: `ChildFailed` with the output if the program ends or `limit` passes without such a line.
    @discardableResult
    package func waitForLine(
        containing text: String, on stream: Stream = .output, within limit: Duration = .seconds(60)
    ) async throws -> String {
        var found: Substring?
        do {
            try await waitUntil("a line with \"\(text)\"", within: limit) {
                // Read `hasEnded` before the text, which is then complete if the program has ended.
                let hasEnded = record.state.withLock { $0.hasEnded }
                found = self.text(stream).split(separator: "\n").first { $0.contains(text) }
                if found == nil, hasEnded { throw ChildFailed("ended without a line with \"\(text)\"", self) }
                return found != nil
            }
        } catch let error as WaitTimedOut {
            throw ChildFailed(error.description, self)
        }
        return String(found ?? "")
    }

    /// Waits until the program has ended and all its output is captured.
    ///
    /// - Throws: `ChildFailed` with the output if `limit` passes first.
    package func waitForExit(within limit: Duration = .seconds(120)) async throws -> Exit {
        do {
            try await waitUntil("the end of process \(processID)", within: limit) {
                record.state.withLock { $0.hasEnded }
            }
        } catch let error as WaitTimedOut {
            throw ChildFailed(error.description, self)
        }
        return exit ?? .status(0)
    }
}

/// A program ended or timed out before the event that the test waited for.
package struct ChildFailed: Error, CustomStringConvertible {
    package let description: String

    init(_ failure: String, _ child: ChildProcess) {
        description = """
            process \(child.processID): \(failure); \(child.exit.map { "ended with \($0)" } ?? "still running")
            --- end of standard output:
            \(child.text(.output).suffix(2000))
            --- end of standard error:
            \(child.text(.error).suffix(2000))
            """
    }
}

/// The state of a child process, written by three threads. The threads retain this and not the `ChildProcess`, so that
/// the latter is deinitialised with its last owner.
private final class ChildRecord: Sendable {
    struct Capture {
        var bytes: [UInt8] = []
        var isComplete = false
    }

    struct State {
        var output = Capture()
        var error = Capture()
        var exit: ChildProcess.Exit?

        var hasEnded: Bool { exit != nil && output.isComplete && error.isComplete }

        subscript(stream: ChildProcess.Stream) -> Capture {
            get { stream == .output ? output : error }
            set {
                switch stream {
                case .output: output = newValue
                case .error: error = newValue
                }
            }
        }
    }

    let processID: Int32
    let state = Mutex(State())

    init(processID: Int32) {
        self.processID = processID
    }

    func signal(_ number: Int32) {
        // Under the lock, because the ID may belong to another process after this one is reaped.
        state.withLock { if $0.exit == nil { _ = Foundation.kill(processID, number) } }
    }

    func read(_ stream: ChildProcess.Stream, from pipe: PipeEnds) {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Foundation.read(pipe.read, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            state.withLock { state in
                switch stream {
                case .output: state.output.append(chunk[..<count])
                case .error: state.error.append(chunk[..<count])
                }
            }
        }
        pipe.closeRead()
        state.withLock { $0[stream].isComplete = true }
    }

    func waitForEnd() {
        var info = siginfo_t()
        // Waits without reaping, so that the ID stays valid for `signal`.
        while waitid(P_PID, id_t(processID), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        state.withLock {
            var status: Int32 = 0
            waitpid(processID, &status, 0)
            $0.exit = status & 0x7F == 0 ? .status((status >> 8) & 0xFF) : .signal(status & 0x7F)
        }
    }
}

extension ChildRecord.Capture {
    mutating func append(_ more: ArraySlice<UInt8>) {
        bytes += more
        let surplus = bytes.count - ChildProcess.outputBytesMax
        if surplus > 0 { bytes.removeFirst(surplus) }
    }
}
