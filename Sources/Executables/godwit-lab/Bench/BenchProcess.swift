import Foundation
import Synchronization

/// A child process: its output, and its CPU time and memory from /proc. It ends with this process, however that ends.
final class BenchProcess: Sendable {
    let name: String
    private let process: Process
    private let output: Output

    /// The output of the process. A thread that ends with the process fills it.
    private final class Output: Sendable {
        let text = Mutex("")
        let isComplete = Mutex(false)
    }

    /// Starts `executable`. Standard output and standard error share one buffer.
    init(_ executable: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        name = (executable as NSString).lastPathComponent
        process = Process()
        #if os(Linux)
        // setpriv(1) replaces itself with the program. SIGTERM, because the children of the program, such as the workers
        // of nginx, have to end with it.
        process.executableURL = URL(fileURLWithPath: try Self.find("setpriv"))
        process.arguments = ["--pdeathsig", "TERM", executable] + arguments
        #else
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        #endif
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try Self.starter.perform { [process] in try process.run() }
        let output = Output()
        self.output = output
        let descriptor = dup(pipe.fileHandleForReading.fileDescriptor)
        Thread.detachNewThread {
            var chunk = [UInt8](repeating: 0, count: 1 << 16)
            while case let count = read(descriptor, &chunk, chunk.count), count > 0 {
                output.text.withLock { $0 += String(decoding: chunk[..<count], as: UTF8.self) }
            }
            close(descriptor)
            output.isComplete.withLock { $0 = true }
        }
    }

    var pid: Int32 { process.processIdentifier }
    var isRunning: Bool { process.isRunning }
    var text: String { output.text.withLock { $0 } }

    /// Waits until a line of the output contains `text`, and returns that line.
    func waitForLine(containing text: String, seconds: Double = 30) async throws -> String {
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            if let line = self.text.split(separator: "\n").first(where: { $0.contains(text) }) { return String(line) }
            guard process.isRunning else { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw BenchError("\(name) did not print \"\(text)\"; its output:\n\(self.text.suffix(2000))")
    }

    /// Waits for the exit and returns its status.
    @discardableResult
    func waitForExit() async throws -> Int32 {
        while process.isRunning { try await Task.sleep(for: .milliseconds(20)) }
        // The pipe may still hold the last lines.
        while !output.isComplete.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(5)) }
        return process.terminationStatus
    }

    func stop() async {
        guard process.isRunning else { return }
        process.terminate()
        let end = ContinuousClock.now + .seconds(30)
        while process.isRunning, ContinuousClock.now < end { try? await Task.sleep(for: .milliseconds(20)) }
        if process.isRunning { kill(pid, SIGKILL) }
    }

    /// User and system time so far, in seconds, with a resolution of 10 ms.
    var cpuSeconds: Double {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let end = stat.lastIndex(of: ")")
        else { return 0 }
        let fields = stat[end...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return 0 }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    var peakResidentMiB: Double { mebibytes("VmHWM:") }
    var residentMiB: Double { mebibytes("VmRSS:") }

    private func mebibytes(_ name: String) -> Double {
        guard let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }),
            let kib = line.split(whereSeparator: { !$0.isNumber }).first.flatMap({ Double($0) })
        else { return 0 }
        return kib / 1024
    }

    /// The kernel sends the signal of `setpriv` when the *thread* that started the child ends, and the threads of the
    /// concurrency pool end when they are idle.
    private static let starter = LastingThread()

    /// The path of this executable, which starts the worker commands.
    static let lab =
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]

    /// The path of the `godwit` executable in the same folder.
    static let godwit = ((lab as NSString).deletingLastPathComponent as NSString).appendingPathComponent("godwit")

    /// Finds a program in PATH.
    static func find(_ program: String) throws -> String {
        for folder in (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":") {
            let path = "\(folder)/\(program)"
            if FileManager.default.isExecutableFile(atPath: path) { return path }
        }
        throw BenchError("\(program) is not installed; `make bench` installs what the benchmarks need")
    }
}

/// A thread that lives as long as the process, and runs one closure after the other.
private final class LastingThread: Sendable {
    private final class Work: Sendable {
        let body: @Sendable () throws -> Void
        let failure = Mutex<(any Error)?>(nil)
        let done = DispatchSemaphore(value: 0)

        init(_ body: @escaping @Sendable () throws -> Void) { self.body = body }
    }

    private let pending = Mutex<[Work]>([])
    private let added = DispatchSemaphore(value: 0)

    init() {
        Thread.detachNewThread { [self] in
            while true {
                added.wait()
                let work = pending.withLock { $0.removeFirst() }
                do { try work.body() } catch { work.failure.withLock { $0 = error } }
                work.done.signal()
            }
        }
    }

    func perform(_ body: @escaping @Sendable () throws -> Void) throws {
        let work = Work(body)
        pending.withLock { $0.append(work) }
        added.signal()
        work.done.wait()
        if let error = work.failure.withLock({ $0 }) { throw error }
    }
}
