import Foundation
import PushTesting
import Testing

/// Servers and load generators of a benchmark that is stopped.
@Suite struct `A benchmark that ends early` {
    @Test(.timeLimit(.minutes(2)), arguments: [SIGKILL, SIGTERM, SIGINT])
    func `leaves no child process`(_ signal: Int32) async throws {
        let temporary = try TemporaryFolder()
        let bench = try ChildProcess(
            Repository.godwitLab, ["bench", "--only", "bulk-accept", "--out", temporary.file("results.json")],
            environment: ["TMPDIR": temporary.path]
        )
        // The simulator, the gateway, and h2load where it is installed.
        try await waitUntil("two children") { Self.children(of: bench.processID).count >= 2 }
        let children = Self.children(of: bench.processID)
        bench.signal(signal)
        _ = try await bench.waitForExit(within: .seconds(30))
        try await waitUntil("the end of the children", within: .seconds(30)) {
            !children.contains { kill($0, 0) == 0 && Self.parent(of: $0) != nil }
        }
        guard signal != SIGKILL else { return }
        // A child that ends may still write.
        try await waitUntil("the end of their files", within: .seconds(30)) {
            try FileManager.default.contentsOfDirectory(atPath: temporary.path).isEmpty
        }
    }

    private static func children(of process: Int32) -> [Int32] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.filter { parent(of: $0) == process }
    }

    /// nil if the process does not run, or has ended and is not reaped yet.
    private static func parent(of process: Int32) -> Int32? {
        guard let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8),
            let state = status.firstMatch(of: /State:\s+(\w)/), state.1 != "Z",
            let parent = status.firstMatch(of: /PPid:\s+(\d+)/)
        else { return nil }
        return Int32(parent.1)
    }
}
