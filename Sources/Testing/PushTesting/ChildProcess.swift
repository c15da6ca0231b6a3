import Foundation
import Synchronization

/// Another program, started by a test: its output is caught, and it dies with this object at the latest.
///
/// Standard input is empty, or a file. Output is kept in memory up to `outputBytesMax` a stream; beyond that the oldest
/// goes. The program never outlives a test that forgets it, but does outlive a test process that is killed.
package final class ChildProcess: Sendable {
    /// How a program ended.
    package enum Exit: Sendable, Equatable {
        case status(Int32)
        case signal(Int32)
    }

    package enum Stream: Sendable {
        case output, error
    }

    /// 4 MiB: what a chatty server writes in a test.
    package static let outputBytesMax = 4 << 20

    package let processID: Int32
    private let record: ChildRecord

    /// Starts `executable`.
    ///
    /// - Parameters:
    ///   - executable: a path, or a name that is looked up in PATH.
    ///   - environment: added to this process's own environment, which is passed on.
    ///   - input: path of the file that becomes standard input; nil: empty.
    ///   - folder: where it works; nil: here.
    /// - Throws: `SystemCallFailed` when it cannot be started.
    package init(
        _ executable: String, _ arguments: [String] = [], environment: [String: String] = [:], input: String? = nil,
        folder: String? = nil
    ) throws {
        // A crash report takes seconds to make; tests that kill programs do not want to wait for it.
        var variables = ProcessInfo.processInfo.environment
        variables["SWIFT_BACKTRACE"] = "enable=no"
        variables.merge(environment) { $1 }
        // posix_spawn has no portable "work in this folder"; env(1) has, and becomes the program.
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

    /// Nil while it runs.
    package var exit: Exit? { record.state.withLock { $0.exit } }

    /// What it wrote so far.
    package func text(_ stream: Stream = .output) -> String {
        record.state.withLock { String(decoding: $0[stream].bytes, as: UTF8.self) }
    }

    /// Sends a signal; does nothing when the program has ended.
    package func signal(_ number: Int32) {
        record.signal(number)
    }

    /// Ends it as a crash would: `kill -9`, and waits until it is gone.
    package func kill(within limit: Duration = .seconds(30)) async throws {
        record.signal(SIGKILL)
        _ = try await waitForExit(within: limit)
    }

    /// Waits for a line that contains `text` and returns it.
    ///
    /// - Throws: `ChildFailed` with what it wrote when it ends or `limit` passes without such a line.
    @discardableResult
    package func waitForLine(
        containing text: String, on stream: Stream = .output, within limit: Duration = .seconds(60)
    ) async throws -> String {
        var found: Substring?
        do {
            try await waitUntil("a line with \"\(text)\"", within: limit) {
                // Whether it has ended is read first: what it wrote before that is in the text by then.
                let hasEnded = record.state.withLock { $0.hasEnded }
                found = self.text(stream).split(separator: "\n").first { $0.contains(text) }
                if found == nil, hasEnded { throw ChildFailed("ended without a line with \"\(text)\"", self) }
                return found != nil
            }
        } catch let error as WaitedTooLong {
            throw ChildFailed(error.description, self)
        }
        return String(found ?? "")
    }

    /// Waits until it has ended and all it wrote has been read.
    package func waitForExit(within limit: Duration = .seconds(120)) async throws -> Exit {
        do {
            try await waitUntil("the end of process \(processID)", within: limit) {
                record.state.withLock { $0.hasEnded }
            }
        } catch let error as WaitedTooLong {
            throw ChildFailed(error.description, self)
        }
        return exit ?? .status(0)
    }
}

/// A program did not do what the test waited for.
package struct ChildFailed: Error, CustomStringConvertible {
    package let description: String

    init(_ what: String, _ child: ChildProcess) {
        description = """
            process \(child.processID): \(what); \(child.exit.map { "ended with \($0)" } ?? "it runs")
            --- output, the end of it:
            \(child.text(.output).suffix(2000))
            --- error, the end of it:
            \(child.text(.error).suffix(2000))
            """
    }
}

/// What the three threads of a child find out. They hold this and not the `ChildProcess`, so that its end is noticed.
private final class ChildRecord: Sendable {
    struct Caught {
        var bytes: [UInt8] = []
        var isComplete = false
    }

    struct State {
        var output = Caught()
        var error = Caught()
        var exit: ChildProcess.Exit?

        var hasEnded: Bool { exit != nil && output.isComplete && error.isComplete }

        subscript(stream: ChildProcess.Stream) -> Caught {
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
        // Under the lock: once the process is reaped its number may belong to another one.
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
        // Waits without reaping, so that `signal` cannot meet a reused number in between.
        while waitid(P_PID, id_t(processID), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        state.withLock {
            var status: Int32 = 0
            waitpid(processID, &status, 0)
            $0.exit = status & 0x7F == 0 ? .status((status >> 8) & 0xFF) : .signal(status & 0x7F)
        }
    }
}

extension ChildRecord.Caught {
    mutating func append(_ more: ArraySlice<UInt8>) {
        bytes += more
        let surplus = bytes.count - ChildProcess.outputBytesMax
        if surplus > 0 { bytes.removeFirst(surplus) }
    }
}
