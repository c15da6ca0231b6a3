import ArgumentParser
@preconcurrency import Dispatch
import Foundation
import Synchronization

/// A command that failed for a reason its user can act on: one sentence, exit code 1.
struct CommandError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Runs what starts a server and turns its error into one sentence.
func started<Value>(_ start: () async throws -> Value) async throws -> Value {
    do {
        return try await start()
    } catch {
        throw CommandError("\(error)")
    }
}

/// Lines for people.
enum Terminal {
    /// Writes a line to standard output at once, also when it is a pipe.
    static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    /// Writes a line to standard error: progress and remarks, not results.
    static func note(_ line: String) {
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }

    static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }
}

/// SIGINT and SIGTERM as something to wait for.
enum Termination {
    private struct State {
        var signals = 0
        var isInterrupt = false
        var waiters: [(id: Int, count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        var lastID = 0
    }

    private static let state = Mutex(State())
    // SAFETY: made once, never changed; it only keeps the sources alive.
    nonisolated(unsafe) private static let sources: [any DispatchSourceSignal] = [SIGINT, SIGTERM].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { arrived(number) }
        source.resume()
        return source
    }

    private static func arrived(_ number: Int32) {
        let ready = state.withLock { state in
            if state.signals == 0 { state.isInterrupt = number == SIGINT }
            state.signals += 1
            let ready = state.waiters.filter { $0.count <= state.signals }
            state.waiters.removeAll { $0.count <= state.signals }
            return ready
        }
        for waiter in ready { waiter.continuation.resume() }
    }

    /// Whether the first signal was SIGINT: somebody sits at a terminal and waits.
    static var isInterrupt: Bool { state.withLock { $0.isInterrupt } }

    /// Returns when the process was asked to end, or its task is cancelled; with `times: 2`, when somebody has lost
    /// patience.
    static func wait(times count: Int = 1) async {
        _ = sources
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    guard state.signals < count, !Task.isCancelled else { return true }
                    state.waiters.append((id, count, continuation))
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            // A gateway that failed must not wait for a signal before it can say so.
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume()
        }
    }
}
